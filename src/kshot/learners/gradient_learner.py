"""What learners with an inner loop of gradient descent share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from kshot.learners.inner_loop import Parameters, descend, outputs_of
from kshot.learners.tasks import TaskBatch
from kshot.learners.torch_learner import TorchLearner


class Adaptable(nn.Module):
    """A network and the learning rates of its inner loop; rates are kept as logarithms so that they stay positive."""

    def __init__(self, network: nn.Module, log_rates: Mapping[str, Tensor], learned: bool) -> None:
        super().__init__()
        self.network = network
        self._names = list(log_rates)
        values = [nn.Parameter(value, requires_grad=learned) for value in log_rates.values()]
        self.log_rates = nn.ParameterList(values)

    def start(self) -> Parameters:
        """The parameters that adapt."""
        own = dict(self.network.named_parameters())
        return {name: own[name] for name in self._names}

    def rates(self) -> Parameters:
        """For each of them, (steps, ...) learning rates."""
        return {name: value.exp() for name, value in zip(self._names, self.log_rates, strict=True)}


@dataclass(kw_only=True, eq=False)
class GradientLearner(TorchLearner):
    """Adapts by `inner_steps` of gradient descent on the support set, all tasks of a batch at once."""

    inner_steps: int = 5
    inner_rate: float = 0.1
    """Learning rate of the inner loop; where rates are learned, what they start from."""
    first_order: bool = False
    """Take the inner gradients for constants: faster, and nearly as good in the papers."""

    def adapted_names(self, network: nn.Module) -> list[str]:
        """Names of the parameters that adapt."""
        return [name for name, _ in network.named_parameters()]

    def build(self, network: nn.Module) -> nn.Module:
        """The network, and one fixed rate."""
        rates = {name: self.first_rate(1) for name in self.adapted_names(network)}
        return Adaptable(network, rates, learned=False)

    def first_rate(self, *shape: int) -> Tensor:
        """Return (steps, *shape) log rates to begin with."""
        return torch.full((self.inner_steps, *shape), math.log(self.inner_rate))

    def adapt_batch(self, batch: TaskBatch) -> Parameters:
        """Descend on each support set."""
        module = cast(Adaptable, self.module)
        return descend(
            module.network,
            module.start(),
            module.rates(),
            batch,
            steps=self.inner_steps,
            first_order=self.first_order,
        )

    def outputs(self, state: Parameters, rows: Tensor, n_classes: int) -> Tensor:
        """Each task by its adapted parameters."""
        return outputs_of(cast(Adaptable, self.module).network, state, rows)
