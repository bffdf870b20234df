"""Cells described relative to the reference: rank-Gauss value, robust tail distance, tie mass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

_CLIP_GAUSS = 3.0
"""A rank says no more than 1 in 700 with a reference of hundreds; beyond it the tail distance speaks."""


@dataclass(frozen=True, slots=True)
class Cells:
    """The same n rows and d columns, seen in four ways."""

    raw: Floats
    """(n, d) values as given, missing ones as the reference's median, infinities as +-1e30."""
    gauss: Floats
    """(n, d) normal quantile of the mid-rank among the reference, clipped to +-3; 0 where missing."""
    tail: Floats
    """(n, d) arcsinh of the robust z-score: (value - median) / (interquartile range / 1.349)."""
    tie: Floats
    """(n, d) log of the share of reference rows with this very value, plus half a row."""

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Cells:
        return Cells(self.raw[rows], self.gauss[rows], self.tail[rows], self.tie[rows])


class ReferenceScale:
    """What every column looks like in the reference; turns values into `Cells`.

    The reference's own rows are described as if each had been left out (`held_out=True`), so that they and rows
    never seen are exchangeable: without that, a tie mass of zero would give every new row away.
    """

    def __init__(self, values: Floats) -> None:
        """Learn from (n, d) reference values, NaN where missing."""
        values = _finite(values)
        self.n_rows, self.n_columns = values.shape
        self.levels: list[Floats] = []
        self.below: list[Floats] = []
        self.ties: list[Floats] = []
        self.median = np.zeros(self.n_columns)
        self.scale = np.ones(self.n_columns)
        for j in range(self.n_columns):
            present = values[~np.isnan(values[:, j]), j]
            levels, counts = np.unique(present, return_counts=True)
            self.levels.append(levels)
            self.below.append(np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)]))
            self.ties.append(np.append(counts, 0).astype(np.float64))
            if len(present):
                low, self.median[j], high = np.percentile(present, [25, 50, 75])
                self.scale[j] = _spread(present, low, high)

    def cells(self, values: Floats, *, held_out: bool = False) -> Cells:
        """Describe (n, d) `values`; with `held_out` they are the reference itself, each row left out in turn."""
        values = _finite(values)
        raw = np.where(np.isnan(values), self.median, values)
        gauss, tie = np.zeros_like(raw), np.zeros_like(raw)
        own = 1.0 if held_out else 0.0
        for j in range(self.n_columns):
            gauss[:, j], tie[:, j] = self._ranks(j, values[:, j], own)
        tail = np.arcsinh(np.clip((raw - self.median) / self.scale, -1e15, 1e15))
        return Cells(raw, gauss, tail, tie)

    def support_cells(self, values: Floats, benign: NDArray[np.bool_]) -> Cells:
        """Describe (n, d) rows of which `benign` (n,) are the reference: those each as if left out, the rest as is."""
        held, plain = self.cells(values[benign], held_out=True), self.cells(values[~benign])
        parts = []
        for a, b in ((held.raw, plain.raw), (held.gauss, plain.gauss), (held.tail, plain.tail), (held.tie, plain.tie)):
            whole = np.empty((len(values), self.n_columns))
            whole[benign], whole[~benign] = a, b
            parts.append(whole)
        return Cells(*parts)

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

    def _ranks(self, column: int, values: Floats, own: float) -> tuple[Floats, Floats]:
        levels, below = self.levels[column], self.below[column]
        total = below[-1]
        missing = np.isnan(values)
        if not total:
            return np.zeros(len(values)), np.zeros(len(values))
        at = np.searchsorted(levels, np.where(missing, levels[0], values))
        equal = np.append(levels, np.nan)[at] == values
        tied = np.where(equal, self.ties[column][at], 0.0) - np.where(missing, 0.0, own)
        rank = (below[at] + 0.5 * (tied + 1.0)) / (total - own + 1.0)
        gauss = np.clip(ndtri(np.clip(rank, 1e-12, 1.0 - 1e-12)), -_CLIP_GAUSS, _CLIP_GAUSS)
        tie = np.log((np.maximum(tied, 0.0) + 0.5) / (total - own + 0.5))
        absent = (self.n_rows - total - own + 0.5) / (self.n_rows - own + 0.5)
        return np.where(missing, 0.0, gauss), np.where(missing, np.log(max(absent, 0.5 / self.n_rows)), tie)


def _finite(values: Floats) -> Floats:
    return np.clip(values, -1e30, 1e30)


def _spread(present: Floats, low: float, high: float) -> float:
    """Robust standard deviation; where half of the values are tied the plain one; where all are, 1."""
    if high > low:
        return float((high - low) / 1.349)
    deviation = float(np.std(present / max(1.0, float(np.abs(present).max())))) * max(1.0, float(np.abs(present).max()))
    return deviation if deviation > 0.0 else 1.0
