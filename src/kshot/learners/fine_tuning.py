"""Fine-tuning: train on all tasks, go on training on the shots. What meta-learning must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from kshot.learners.gradient_learner import Adaptable, GradientLearner
from kshot.learners.inner_loop import losses_of
from kshot.learners.tasks import TaskBatch


@dataclass(kw_only=True, eq=False)
class FineTuning(GradientLearner):
    """Transfer learning: the Baseline of Chen et al. (A closer look at few-shot classification, ICLR 2019).

    Pre-training minimises the plain loss over the rows of all tasks, no inner loop: threats against benign (classes
    of different tasks have nothing in common but that), or the values themselves. Adapting takes `inner_steps` of
    gradient descent on the support set, over all layers; the paper trains a new head only, in a network of fixed
    classes.
    """

    name: ClassVar[str] = "fine-tuning"
    inner_steps: int = 20
    first_order: bool = True

    def training_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) loss on all rows of each task, by the shared weights as they are."""
        rows = torch.cat([batch.support, batch.queries], 1)
        labels = torch.cat([batch.support_labels, batch.query_labels], 1)
        weights = 0.5 * torch.cat([batch.support_weights, batch.query_weights], 1)
        outputs = cast(Adaptable, self.module).network(rows)
        if batch.n_classes <= 2:
            return losses_of(outputs, labels, weights, batch)
        log_shares = torch.log_softmax(outputs[..., : batch.n_classes], -1)
        threat = torch.logsumexp(log_shares[..., 1:], -1)
        return -(weights * torch.where(labels > 0, threat, log_shares[..., 0])).sum(1)
