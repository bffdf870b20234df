"""Model-agnostic meta-learning: weights from which a few gradient steps answer any task well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from kshot.learners.gradient_learner import Adaptable, GradientLearner


@dataclass(kw_only=True, eq=False)
class Maml(GradientLearner):
    """MAML (Finn, Abbeel and Levine, ICML 2017).

    Inner loop, theirs eq. 1, repeated `inner_steps` times: theta' = theta - alpha grad L_support(theta). Outer loop:
    the gradient of sum_t L_query(theta'_t) with respect to theta, through the inner steps (`first_order`: section
    5.2, without the second derivatives).

    `learned_rates` gives every layer's tensors a learning rate of its own at every inner step, learned with theta:
    LSLR of MAML++ (Antoniou, Edwards and Storkey, ICLR 2019, section 4). Of MAML++'s other parts the cosine schedule
    is the outer loop's; multi-step loss, derivative-order annealing and per-step batch norm are left out.
    Rates are learned as logarithms, so they cannot turn negative.
    """

    name: ClassVar[str] = "maml"
    learned_rates: bool = True

    def build(self, network: nn.Module) -> nn.Module:
        """One rate for each parameter tensor and inner step."""
        rates = {name: self.first_rate(1) for name in self.adapted_names(network)}
        return Adaptable(network, rates, learned=self.learned_rates)
