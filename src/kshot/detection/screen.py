"""A first look: how much like the shots each row is, when the other rows may hide the attack itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.columns import Columns
from kshot.detection.forest import grow
from kshot.detection.reference import Cells, ReferenceScale

Floats = NDArray[np.float64]
_LEAST_SEEN = 100


@dataclass(frozen=True, slots=True)
class Screen:
    """Trees grown on shots against rows that are not labelled, and that may hide more of the same."""

    trees: int
    share_seen: float
    """Of the unlabelled rows by each tree; those that left a row out judge it."""
    leaf_share: float
    """Of the unlabelled rows in every leaf at least: trees grown to the end would wall the shots off from their own
    kind."""

    def log_odds(self, support: pl.DataFrame, labels: NDArray[np.intp], rng: np.random.Generator) -> Floats:
        """(rows labelled 0, T) log-odds of the rows of `support` labelled 0 (unlabelled); 1 to T are shots."""
        unlabelled = labels == 0
        values, _ = Columns.learn(support, unlabelled).read(support)
        views = _views(ReferenceScale(values[unlabelled]).cells(values))
        n = int(unlabelled.sum())
        share = max(self.share_seen, min(DENSE.share_seen, _LEAST_SEEN / max(1, n)))
        min_leaf = max(2, int(self.leaf_share * n * share / self.share_seen))
        _, held_out = grow(views, labels, self.trees, rng, hold_out_shots=False, min_leaf=min_leaf, share_kept=share)
        return np.asarray(held_out[unlabelled])


SPARSE = Screen(trees=400, share_seen=0.1, leaf_share=0.0025)
"""Most trees see little of a small attack hidden among the rows, and take its rows, when asked, for what they are
(bagging on unlabelled rows: Mordelet and Vert 2014)."""
DENSE = Screen(trees=200, share_seen=0.63, leaf_share=0.03)
"""Broad leaves gather an attack that is a good part of the rows; of a small one they take benign neighbours too."""


def _views(cells: Cells) -> NDArray[np.float32]:
    return np.concatenate([cells.raw, cells.gauss, cells.tail], axis=1).astype(np.float32)
