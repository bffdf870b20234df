"""Meta-SGD: learns, beside where to begin, how far and which way every single weight is to move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from kshot.learners.gradient_learner import GradientLearner
from kshot.learners.inner_loop import Parameters, descend, outputs_of
from kshot.learners.tasks import TaskBatch


class _Directed(nn.Module):
    def __init__(self, network: nn.Module, rate: float) -> None:
        super().__init__()
        self.network = network
        self.alpha = nn.ParameterList(torch.full_like(value, rate) for value in network.parameters())


@dataclass(kw_only=True, eq=False)
class MetaSgd(GradientLearner):
    """Meta-SGD (Li, Zhou, Chen and Li 2017).

    Theirs eq. 1: theta' = theta - alpha * grad L_support(theta), elementwise, where alpha has the shape of theta and
    is learned with it (eq. 2 minimises the query loss over both). Its sign is free, so it sets the direction too.
    The paper takes one step; `inner_steps` more use the same alpha.
    """

    name: ClassVar[str] = "meta-sgd"
    inner_steps: int = 1

    def build(self, network: nn.Module) -> nn.Module:
        """The network and a rate for each of its weights."""
        return _Directed(network, self.inner_rate)

    def adapt_batch(self, batch: TaskBatch) -> Parameters:
        """Step each weight by its own rate."""
        module = cast(_Directed, self.module)
        start = dict(module.network.named_parameters())
        rates = {
            name: value.expand(self.inner_steps, *value.shape) for name, value in zip(start, module.alpha, strict=True)
        }
        return descend(
            module.network,
            start,
            rates,
            batch,
            steps=self.inner_steps,
            first_order=self.first_order,
        )

    def outputs(self, state: Parameters, rows: Tensor, n_classes: int) -> Tensor:
        """Each task by its adapted parameters."""
        return outputs_of(cast(_Directed, self.module).network, state, rows)
