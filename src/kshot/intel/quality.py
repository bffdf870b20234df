"""How well a threat's shots separate from the reference, and which of them looks odd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

_REFERENCE_ROWS = 1_000
"""Half teach, half are ranked against the held-out shots; more would change the figures less than their noise."""
_FOLDS = 5
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
    """Hold each shot out once, teach the others, and rank it among reference rows that were held out too.

    Parameters:
        shots, reference: frames of the same columns.

    Returns None with fewer than two shots, or too few reference rows to rank against.
    """
    k = shots.height
    if k < 2 or reference.height < 20:
        return None
    from kshot.detection import judge

    generator = np.random.default_rng(random_state)
    rows = generator.permutation(reference.height)[:_REFERENCE_ROWS]
    taught, held = reference[rows[: len(rows) // 2]], reference[rows[len(rows) // 2 :]]
    fold = generator.permutation(k) % min(k, _FOLDS)
    ranks = np.empty(k)
    for f in range(min(k, _FOLDS)):
        out = np.flatnonzero(fold == f)
        queries = pl.concat([shots[out], held])
        verdicts = judge(
            {"shots": shots[np.flatnonzero(fold != f)]}, queries, reference=taught, random_state=random_state
        )
        scores = np.asarray(verdicts.score, dtype=np.float64)
        ours, theirs = scores[: len(out)], np.sort(scores[len(out) :])
        below = np.searchsorted(theirs, ours, side="left") + np.searchsorted(theirs, ours, side="right")
        ranks[out] = below / (2 * len(theirs))
    rest = np.array([np.median(np.delete(ranks, i)) for i in range(k)])
    return ShotQuality(ranks, np.flatnonzero((ranks < _ODD_BELOW) & (rest > _REST_ABOVE)))
