"""Cells described relative to the reference: rank-Gauss value, robust tail distance, shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from kshot.detection.reference_kernels import describe

Floats = NDArray[np.float64]

_CLIP_GAUSS = 3.0
"""A rank says no more than 1 in 700 with a reference of hundreds; beyond it the tail distance speaks."""
_GREATEST = 1e30


@dataclass(frozen=True, slots=True)
class Cells:
    """The same n rows and d columns, seen in three ways."""

    raw: Floats
    """(n, d) values as given, infinities as +-1e30; missing ones one spread below the reference's least, or at -1e30
    where it has none."""
    gauss: Floats
    """(n, d) normal quantile of the mid-rank among the reference, clipped to +-3; 0 where missing."""
    tail: Floats
    """(n, d) arcsinh of the robust z-score: (value - median) / (interquartile range / 1.349)."""

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Cells:
        return Cells(self.raw[rows], self.gauss[rows], self.tail[rows])


class ReferenceScale:
    """What every column looks like in the reference; turns values into `Cells`.

    Every cell is a function of its value alone, for reference rows as for others: were a reference row described
    as if left out, its cells would differ a little from those of an equal shot, and trees would split on that.
    How many rows share a value is for `shares` and explanations only: no row never seen shares one, every row of
    the reference does, and a learner would hear nothing else.
    """

    _looked_up: tuple[Floats, NDArray[np.int64], Floats, Floats] | None = None

    def __init__(self, values: Floats) -> None:
        """Learn from (n, d) reference values, NaN where missing."""
        values = _finite(values)
        self.n_rows, self.n_columns = values.shape
        self.levels: list[Floats] = []
        self.below: list[Floats] = []
        self.ties: list[Floats] = []
        self.median = np.zeros(self.n_columns)
        self.scale = np.ones(self.n_columns)
        self.absent = np.full(self.n_columns, -_GREATEST)
        for j in range(self.n_columns):
            present = values[~np.isnan(values[:, j]), j]
            levels, counts = np.unique(present, return_counts=True)
            self.levels.append(levels)
            self.below.append(np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)]))
            self.ties.append(np.append(counts, 0).astype(np.float64))
            if len(present):
                low, self.median[j], high = np.percentile(present, [25, 50, 75])
                self.scale[j] = _spread(present, low, high)
                self.absent[j] = levels[0] - self.scale[j]

    def cells(self, values: Floats) -> Cells:
        """Describe (n, d) `values`, NaN where missing."""
        levels, starts, tied, between = self._tables()
        values = np.ascontiguousarray(_finite(values))
        return Cells(*describe(values, levels, starts, tied, between, self.median, self.scale, self.absent))

    def percentile(self, column: int, value: float) -> float:
        """Share of the reference below `value` in `column`, ties counted half, in percent; nan where missing."""
        below, tied, _ = self.shares(column, value)
        return 100.0 * (below + 0.5 * tied)

    def shares(self, column: int, value: float) -> tuple[float, float, float]:
        """Shares of the reference below, at and above `value` in `column`; nan where missing."""
        levels = self.levels[column]
        if np.isnan(value) or not len(levels):
            return float("nan"), float("nan"), float("nan")
        at = int(np.searchsorted(levels, value))
        total = self.below[column][-1]
        tied = self.ties[column][at] if at < len(levels) and levels[at] == value else 0.0
        below = self.below[column][at]
        return float(below / total), float(tied / total), float((total - below - tied) / total)

    def surprise(self, column: int, values: Floats) -> tuple[Floats, Floats]:
        """(n,) values -> (-ln share of the reference at least as far out on the nearer side, the side: -1 or 1).

        Both 0 where missing.
        """
        levels, below = self.levels[column], self.below[column]
        total = below[-1]
        missing = np.isnan(values)
        if not total:
            return np.zeros(len(values)), np.zeros(len(values))
        values = np.where(missing, levels[0], _finite(values))
        at = np.searchsorted(levels, values)
        tied = np.where(np.append(levels, np.nan)[at] == values, self.ties[column][at], 0.0)
        low, high = below[at] + tied, total - below[at]
        surprise = -np.log((np.minimum(low, high) + 0.5) / (total + 0.5))
        return np.where(missing, 0.0, surprise), np.where(missing, 0.0, np.where(high <= low, 1.0, -1.0))

    def _tables(self) -> tuple[Floats, NDArray[np.int64], Floats, Floats]:
        """All levels in one row, where each column's begin, and the normal quantile at and between them."""
        if self._looked_up is None:
            starts = np.concatenate([[0], np.cumsum([len(levels) for levels in self.levels], dtype=np.int64)])
            tied = [_quantile(b[:-1], t[:-1], b[-1]) for b, t in zip(self.below, self.ties, strict=True)]
            between = [_quantile(b, np.zeros_like(b), b[-1]) for b in self.below]
            self._looked_up = _joined(self.levels), starts, _joined(tied), _joined(between)
        return self._looked_up


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate([*parts, np.empty(0)])


def _quantile(below: Floats, tied: Floats, total: float) -> Floats:
    """Clipped normal quantile of the mid-ranks that a value would have among `total` others, some below, some equal."""
    rank = (below + 0.5 * (tied + 1.0)) / (total + 1.0)
    return np.asarray(np.clip(ndtri(rank), -_CLIP_GAUSS, _CLIP_GAUSS))


def _finite(values: Floats) -> Floats:
    return np.clip(values, -_GREATEST, _GREATEST)


def _spread(present: Floats, low: float, high: float) -> float:
    """Robust standard deviation; where half of the values are tied the plain one; where all are, 1."""
    if high > low:
        return float((high - low) / 1.349)
    deviation = float(np.std(present / max(1.0, float(np.abs(present).max())))) * max(1.0, float(np.abs(present).max()))
    return deviation if deviation > 0.0 else 1.0
