"""The LSTM meta-learner: a recurrent cell learns how to update another network's weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from kshot.learners.inner_loop import Parameters, outputs_of, support_gradients
from kshot.learners.tasks import TaskBatch
from kshot.learners.torch_learner import TorchLearner

_LEAST_LOG = 10.0
"""p of the preprocessing: numbers below e^-p are passed on scaled instead of as logarithms."""


class _Updater(nn.Module):
    """An LSTM that reads gradients and losses, and the gates that update one weight; the same for every weight."""

    def __init__(self, network: nn.Module, hidden: int, rate: float) -> None:
        super().__init__()
        self.network = network
        self.hidden = hidden
        self.reader = nn.Linear(4 + hidden, 4 * hidden)
        self.gates = nn.Linear(hidden + 3, 2)
        with torch.no_grad():
            # To begin with: keep the weight (forget gate near 1) and step by `rate` (input gate near it).
            self.gates.weight.mul_(0.01)
            self.gates.bias.copy_(torch.tensor([6.0, math.log(rate / (1.0 - rate))]))

    def forward(
        self, seen: Tensor, gradient: Tensor, weights: Tensor, gates: Tensor, memory: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Update (T, P) weights.

        `seen` (T, P, 4) is the preprocessed gradient and loss, `gates` (T, P, 2) the last forget and input gates,
        `memory` (T, P, hidden) twice; returns all of them anew.
        """
        output, cell = memory
        i, f, o, g = self.reader(torch.cat([seen, output], -1)).chunk(4, -1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        output = torch.sigmoid(o) * torch.tanh(cell)
        joined = torch.cat([output, weights[..., None], gates], -1)
        gates = torch.sigmoid(self.gates(joined))
        return gates[..., 0] * weights - gates[..., 1] * gradient, gates, (output, cell)


@dataclass(kw_only=True, eq=False)
class LstmLearner(TorchLearner):
    """Optimization as a model for few-shot learning (Ravi and Larochelle, ICLR 2017).

    Theirs eq. 2: c_t = f_t * c_{t-1} + i_t * c~_t, where the cell state c is the learner's weights and c~ = -grad
    L_support; eq. 3 and 4: the gates f and i are sigmoids of the gradient, the loss, the weight and the last gate,
    shared by all weights. c_0 is learned. Gradients and losses are preprocessed as in Andrychowicz et al. 2016,
    appendix A, and read by a plain LSTM first, as in the paper; like there, they are constants to the outer loop.
    Simplified: both gates see both last gates; 8 hidden units for 20; full-batch steps.
    """

    name: ClassVar[str] = "lstm-learner"
    inner_steps: int = 5
    hidden: int = 8
    first_rate: float = 0.1
    """Size of the input gate before training."""

    def build(self, network: nn.Module) -> nn.Module:
        """The network, whose weights are c_0, and the updater."""
        return _Updater(network, self.hidden, self.first_rate)

    def adapt_batch(self, batch: TaskBatch) -> Parameters:
        """Run the updater over each task's support set."""
        updater = cast(_Updater, self.module)
        start: Parameters = dict(updater.network.named_parameters())
        flat = torch.cat([value.flatten() for value in start.values()]).expand(len(batch), -1)
        empty = flat.new_zeros(*flat.shape, self.hidden)
        memory = (empty, empty)
        gates = torch.stack([torch.ones_like(flat), torch.full_like(flat, self.first_rate)], -1)
        for _ in range(self.inner_steps):
            fast = _unflatten(flat, start)
            gradients, losses = support_gradients(updater.network, fast, batch, through=False)
            gradient = torch.cat([value.flatten(1) for value in gradients.values()], 1)
            loss = _preprocess(losses.detach())[:, None].expand(*flat.shape, 2)
            seen = torch.cat([_preprocess(gradient), loss], -1)
            flat, gates, memory = updater(seen, gradient, flat, gates, memory)
        return _unflatten(flat, start)

    def outputs(self, state: Parameters, rows: Tensor, n_classes: int) -> Tensor:
        """Each task by its updated weights."""
        return outputs_of(cast(_Updater, self.module).network, state, rows)


def _preprocess(x: Tensor) -> Tensor:
    """(...,) -> (..., 2): log size and sign, or for tiny numbers -1 and the number scaled up."""
    size = x.abs()
    large = size >= math.exp(-_LEAST_LOG)
    first = torch.where(large, size.clamp_min(1e-30).log() / _LEAST_LOG, torch.full_like(x, -1.0))
    return torch.stack([first, torch.where(large, x.sign(), x * math.exp(_LEAST_LOG))], -1)


def _unflatten(flat: Tensor, like: Parameters) -> Parameters:
    """(T, P) -> name -> (T, *shape)."""
    out, at = {}, 0
    for name, value in like.items():
        out[name] = flat[:, at : at + value.numel()].reshape(len(flat), *value.shape)
        at += value.numel()
    return out
