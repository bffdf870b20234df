"""Reptile: moves the shared weights towards where plain training on each task ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor

from kshot.learners.gradient_learner import Adaptable, GradientLearner
from kshot.learners.inner_loop import detached, squared_distance
from kshot.learners.tasks import TaskBatch


@dataclass(kw_only=True, eq=False)
class Reptile(GradientLearner):
    """Reptile (Nichol, Achiam and Schulman 2018).

    Theirs section 3 and Algorithm 2: phi <- phi + epsilon mean_t (phi~_t - phi), where phi~_t is phi after
    `inner_steps` on task t. Written as the gradient of 1/2 |phi - phi~_t|^2 with phi~_t held constant, so that any
    outer optimiser takes it (the paper's section 3 notes that). As there, training tasks are not divided: their
    queries are trained on too. Inner steps are full-batch gradient descent, not Adam on minibatches.
    """

    name: ClassVar[str] = "reptile"
    first_order: bool = True
    inner_steps: int = 8

    def training_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) half the squared distance to where training on each task ends."""
        module = cast(Adaptable, self.module)
        whole = replace(
            batch,
            support=torch.cat([batch.support, batch.queries], 1),
            support_labels=torch.cat([batch.support_labels, batch.query_labels], 1),
            support_weights=0.5 * torch.cat([batch.support_weights, batch.query_weights], 1),
        )
        with torch.no_grad():
            ended = detached(self.adapt_batch(whole))
        return 0.5 * squared_distance(ended, module.start())
