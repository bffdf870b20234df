"""A ridge regression on learned features, solved in closed form for every task (R2-D2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from kshot.learners.prototypical import MetricLearner, class_members
from kshot.learners.tasks import TaskBatch


class _Ridge(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.log_penalty = nn.Parameter(torch.tensor(math.log(0.1)))
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.shift = nn.Parameter(torch.tensor(0.0))


@dataclass(kw_only=True, eq=False)
class RidgeHead(MetricLearner):
    """Ridge regression differentiable discriminator (Bertinetto, Henriques, Torr and Vedaldi, ICLR 2019).

    Theirs eq. 4: W = X^T (X X^T + lambda I)^-1 Y over the n support embeddings X, eq. 6: outputs = a X' W + b, with
    lambda, a and b learned. The Woodbury form where n < E, the usual one otherwise: the same W. Added: rows are
    weighted so that every class counts the same (a reference of hundreds against one shot), and X has a constant
    column. Y is one-hot, or the values themselves in regression.
    """

    name: ClassVar[str] = "ridge-head"

    def build(self, network: nn.Module) -> nn.Module:
        """The embedding, the penalty, and how outputs are scaled."""
        return _Ridge(network)

    def adapt_batch(self, batch: TaskBatch) -> Tensor:
        """(T, E + 1, W) solutions."""
        x = self._design(batch.support)
        with torch.autocast(x.device.type, enabled=False):  # systems are solved in full precision
            return self._solve(x if x.dtype == torch.float64 else x.float(), batch)

    def _solve(self, x: Tensor, batch: TaskBatch) -> Tensor:
        module = cast(_Ridge, self.module)
        y = class_members(batch, x.dtype) if batch.n_classes else batch.support_labels[..., None]
        # Weights that sum to 1 are scaled to the support's size, so that lambda means what it means unweighted.
        rows = (batch.support_weights > 0).sum(1, keepdim=True)
        root = (batch.support_weights * rows).sqrt()[..., None]
        x, y = root * x, root * y
        n, e = x.shape[1:]
        penalty = module.log_penalty.exp()
        if n < e:
            gram = x @ x.transpose(1, 2) + penalty * torch.eye(n, device=x.device, dtype=x.dtype)
            dual: Tensor = x.transpose(1, 2) @ torch.linalg.solve(gram, y)
            return dual
        covariance = x.transpose(1, 2) @ x + penalty * torch.eye(e, device=x.device, dtype=x.dtype)
        out: Tensor = torch.linalg.solve(covariance, x.transpose(1, 2) @ y)
        return out

    def outputs(self, state: Tensor, rows: Tensor, n_classes: int) -> Tensor:
        """(T, m, W)."""
        module = cast(_Ridge, self.module)
        raw = self._design(rows) @ state
        return module.scale * raw + module.shift if n_classes else raw

    def _design(self, rows: Tensor) -> Tensor:
        embedded = self.embed(rows)
        return torch.cat([embedded, torch.ones_like(embedded[..., :1])], -1)
