"""How well a threat's shots separate from the reference, and which of them looks odd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.blas import one_blas_thread
from kshot.detection.model import Model

_REFERENCE_ROWS = 1_000
"""More would change the figures less than their noise."""
_TREES = 300
_ODD_BELOW = 0.90
_REST_ABOVE = 0.95
"""A shot is odd when, taught by the others alone, it ranks below `_ODD_BELOW` of the reference while the others'
median ranks above `_REST_ABOVE`: the rest agree and it does not."""


@dataclass(frozen=True, slots=True)
class ShotQuality:
    """What leaving shots out tells."""

    ranks: NDArray[np.float64]
    """(k,) the share of reference rows that score below each shot when the other shots teach, 0..1."""
    odd: NDArray[np.int64]
    """Rows of the shots that do not look like the others."""

    @property
    def auroc(self) -> float:
        """The chance that a held-out shot scores above a reference row."""
        return float(self.ranks.mean())

    @property
    def found(self) -> float:
        """The share of held-out shots that score above 99 % of the reference."""
        return float((self.ranks >= 0.99).mean())


def shot_quality(shots: pl.DataFrame, reference: pl.DataFrame, random_state: int = 0) -> ShotQuality | None:
    """Fit once and rank each shot among reference rows, by trees that saw neither the shot nor the row.

    Parameters:
        shots, reference: frames of the same columns.

    Returns None with fewer than two shots, or too few reference rows to rank against.
    """
    if shots.height < 2 or reference.height < 20:
        return None
    generator = np.random.default_rng(random_state)
    rows = generator.permutation(reference.height)[:_REFERENCE_ROWS]
    labels = np.repeat([0, 1], [len(rows), shots.height])
    with one_blas_thread():
        model = Model(pl.concat([reference[rows], shots]), labels, generator, n_trees=_TREES)
    ranks = 1.0 - np.exp(-model.shot_ranks[labels == 1])
    rest = np.array([np.median(np.delete(ranks, i)) for i in range(len(ranks))])
    return ShotQuality(ranks, np.flatnonzero((ranks < _ODD_BELOW) & (rest > _REST_ABOVE)))
