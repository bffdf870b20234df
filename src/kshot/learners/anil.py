"""ANIL: MAML that adapts the last layer only and keeps the features it learned across tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, cast

from torch import Tensor, nn

from kshot.learners.gradient_learner import Adaptable, GradientLearner
from kshot.learners.inner_loop import Parameters, descend, outputs_of
from kshot.learners.networks import EmbeddingNetwork, head_names
from kshot.learners.tasks import TaskBatch


@dataclass(kw_only=True, eq=False)
class Anil(GradientLearner):
    """Almost No Inner Loop (Raghu, Raghu, Bengio and Vinyals, ICLR 2020, section 5).

    As MAML, but in the inner loop only the head moves: theta'_head = theta_head - alpha grad_head L_support. The body
    is learned by the outer loop alone, so its features are computed once for all inner steps. A network that is no
    `EmbeddingNetwork` adapts its last layer with parameters, at MAML's cost.
    """

    name: ClassVar[str] = "anil"

    def adapted_names(self, network: nn.Module) -> list[str]:
        """Those of the head."""
        head = head_names(network)
        return [name for name, _ in network.named_parameters() if name in head]

    def adapt_batch(self, batch: TaskBatch) -> Parameters:
        """Descend on the head over the embedded support sets."""
        module = cast(Adaptable, self.module)
        network = module.network
        if not isinstance(network, EmbeddingNetwork):
            return super().adapt_batch(batch)
        embedded = replace(batch, support=network.embed(batch.support))
        bare = {name.removeprefix("head."): value for name, value in module.start().items()}
        rates = {name.removeprefix("head."): value for name, value in module.rates().items()}
        return descend(
            network.head,
            bare,
            rates,
            embedded,
            steps=self.inner_steps,
            first_order=self.first_order,
        )

    def outputs(self, state: Parameters, rows: Tensor, n_classes: int) -> Tensor:
        """The adapted heads over the embedded rows."""
        network = cast(Adaptable, self.module).network
        if not isinstance(network, EmbeddingNetwork):
            return super().outputs(state, rows, n_classes)
        return outputs_of(network.head, state, network.embed(rows))
