"""Prototypical networks: a row belongs to the class whose mean embedding is nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from kshot.learners.networks import RowNetwork
from kshot.learners.tasks import TaskBatch
from kshot.learners.torch_learner import TorchLearner

EMBEDDING = 32
"""Width of the default embedding."""
_UNLIMITED = 1_000


class Embedded(nn.Module):
    """An embedding and a learned scale of what is computed on it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.log_scale = nn.Parameter(torch.zeros(()))


@dataclass(kw_only=True, eq=False)
class MetricLearner(TorchLearner):
    """Adapts without gradients, by what the network's outputs of the support rows say; any number of classes."""

    def default_network(self) -> nn.Module:
        """An embedding of rows."""
        return RowNetwork(EMBEDDING)

    def build(self, network: nn.Module) -> nn.Module:
        """The embedding and a scale."""
        return Embedded(network)

    def most_classes(self) -> int:
        """No limit but sense."""
        return _UNLIMITED

    def embed(self, rows: Tensor) -> Tensor:
        """(T, n, *F) -> (T, n, E)."""
        out: Tensor = cast(Embedded, self.module).network(rows)
        return out


def class_means(embedded: Tensor, batch: TaskBatch) -> Tensor:
    """(T, n, E) support embeddings -> (T, W, E) means of the classes; padded rows weigh nothing."""
    member = class_members(batch, embedded.dtype)
    total = member.sum(1)[..., None]
    return member.transpose(1, 2) @ embedded / total.clamp_min(1e-9)


def class_members(batch: TaskBatch, dtype: torch.dtype) -> Tensor:
    """(T, n, W) 1 where a support row is of a class."""
    classes = torch.arange(batch.n_classes, device=batch.support_labels.device)
    return ((batch.support_labels[..., None] == classes) & (batch.support_weights[..., None] > 0)).to(dtype)


@dataclass(kw_only=True, eq=False)
class Prototypical(MetricLearner):
    """Prototypical networks (Snell, Swersky and Zemel, NeurIPS 2017).

    Theirs eq. 1: c_k = the mean embedding of class k's support rows; eq. 2: p(y = k | x) = softmax over k of
    -|f(x) - c_k|^2. The reference is one more class. Added: a learned scale of the distances. A class that a task
    lacks (batches of tasks with different N) has its prototype at infinity.
    """

    name: ClassVar[str] = "prototypical"

    def adapt_batch(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """(T, W, E) prototypes and (T, W) whether each is there."""
        there = class_members(batch, torch.float32).sum(1) > 0
        return class_means(self.embed(batch.support), batch), there

    def outputs(self, state: tuple[Tensor, Tensor], rows: Tensor, n_classes: int) -> Tensor:
        """(T, m, W) minus squared distances."""
        prototypes, there = state
        embedded = self.embed(rows)
        distance = (embedded[:, :, None] - prototypes[:, None]).square().sum(-1)
        logits = -distance * cast(Embedded, self.module).log_scale.exp()
        return logits.masked_fill(~there[:, None], -1e9)
