"""Relation networks: a second network learns how to compare a row with a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from kshot.learners.prototypical import EMBEDDING, MetricLearner, class_means, class_members
from kshot.learners.tasks import TaskBatch


class _Relation(nn.Module):
    def __init__(self, network: nn.Module, width: int, hidden: int) -> None:
        super().__init__()
        self.network = network
        self.compare = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, hidden), nn.GELU(), nn.Linear(hidden, 1)
        )


@dataclass(kw_only=True, eq=False)
class Relation(MetricLearner):
    """Relation networks (Sung et al., CVPR 2018).

    Theirs eq. 1: r_k = g(C(f(x_k), f(x))), where C joins the embedding of class k with that of the query and g is
    learned. With several shots class k's embedding is their mean (theirs: their sum). Trained on the episode's
    cross-entropy; theirs regresses the relation to 0 or 1 by squared error (eq. 2). The pair is normalised (layer norm)
    before it is compared: without, training can end in units that are all off.
    """

    name: ClassVar[str] = "relation"
    embedding: int = EMBEDDING
    """Width of the network's output."""
    hidden: int = 32
    """Width of the comparing network."""

    def build(self, network: nn.Module) -> nn.Module:
        """The embedding and the comparison."""
        return _Relation(network, self.embedding, self.hidden)

    def adapt_batch(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """(T, W, E) class embeddings and (T, W) whether each is there."""
        there = class_members(batch, torch.float32).sum(1) > 0
        return class_means(self.embed(batch.support), batch), there

    def outputs(self, state: tuple[Tensor, Tensor], rows: Tensor, n_classes: int) -> Tensor:
        """(T, m, W) relations."""
        classes, there = state
        embedded = self.embed(rows)
        n, w = embedded.shape[1], classes.shape[1]
        pairs = torch.cat([classes[:, None].expand(-1, n, -1, -1), embedded[:, :, None].expand(-1, -1, w, -1)], dim=-1)
        relations: Tensor = cast(_Relation, self.module).compare(pairs)[..., 0]
        return relations.masked_fill(~there[:, None], -1e9)
