"""Scores to alarm p-values: the chance that a benign record raises any alert at all, by conformal prediction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_TAIL_SHARE = 0.05
"""Upper share of the calibration scores whose mean excess sets the slope beyond their greatest."""


@dataclass(frozen=True, slots=True)
class TailMap:
    """One score to its surprise, -ln(share of benign scores at or above it), and on beyond the greatest of them.

    Inside, the empirical tail, interpolated; outside, exponential with the mean excess of the upper twentieth
    (Pickands 1975, shape 0). It puts the scores of many threats on one scale; it promises nothing by itself.
    """

    scores: Floats
    """(n,) distinct benign scores, rising."""
    surprise: Floats
    """(n,) of each."""
    slope: float
    """Surprise a unit of score beyond the greatest."""

    @classmethod
    def of(cls, benign: Floats) -> TailMap:
        """Measure (n,) benign scores, n >= 1."""
        ordered = np.sort(benign)
        levels, first = np.unique(ordered, return_index=True)
        n = len(ordered)
        surprise = -np.log((n - first + 0.5) / (n + 1.0))
        top = ordered[-max(2, int(np.ceil(_TAIL_SHARE * n))) :]
        excess = float(np.mean(top - top[0])) if len(top) > 1 else 0.0
        spread = excess if excess > 0.0 else max(float(np.std(ordered)), 1e-6)
        return cls(levels, surprise, 1.0 / spread)

    def __call__(self, scores: Floats) -> Floats:
        """(n,) scores -> (n,) surprises."""
        inside = np.interp(scores, self.scores, self.surprise)
        # Below the least benign score nothing is surprising, but the order must still be kept.
        below = np.minimum(scores - self.scores[0], 0.0) * 1e-9
        return np.asarray(inside + self.slope * np.maximum(scores - self.scores[-1], 0.0) + below)


def left_out(benign: Floats) -> Floats:
    """(n,) benign scores, n >= 2 -> (n,) surprise of each by the map of the other n - 1.

    By the map of all, the greatest would stand at ln(2n + 2) however great: a new row can lie beyond it in any column,
    a row of the map's own in none, and the promise over T columns would be broken T times over.
    """
    n = len(benign)
    ordered = np.sort(benign)
    levels, first, count = np.unique(ordered, return_index=True, return_counts=True)
    if len(levels) == 1:
        return TailMap.of(benign[1:])(benign)
    at_or_above = n - first
    # Without the row itself: the levels below have one fewer above them, those above as many as ever.
    without = -np.log((at_or_above - 1 + 0.5) / n)
    beyond = -np.log((at_or_above + 0.5) / n)
    out = without.copy()
    alone = np.flatnonzero(count == 1)
    inner = alone[(alone > 0) & (alone < len(levels) - 1)]
    share = (levels[inner] - levels[inner - 1]) / (levels[inner + 1] - levels[inner - 1])
    out[inner] = (1.0 - share) * without[inner - 1] + share * beyond[inner + 1]
    for end in set(alone.tolist()) & {0, len(levels) - 1}:
        others = np.delete(ordered, first[end])
        out[end] = TailMap.of(others)(levels[end : end + 1])[0]
    return np.asarray(out[np.searchsorted(levels, benign)])


@dataclass(frozen=True, slots=True)
class Calibration:
    """From the scores of every threat (and "unknown") to one alarm p-value."""

    maps: tuple[TailMap, ...]
    """One a threat, and one for "unknown" where it is asked for."""
    benign: Floats
    """(n,) greatest surprise of each calibration row by what the others say, rising."""

    @classmethod
    def of(cls, benign_scores: Floats) -> Calibration:
        """Measure (n, columns) scores of benign rows that the model was not fitted on, n >= 2."""
        maps = tuple(TailMap.of(column) for column in benign_scores.T)
        # One map keeps the order of its scores, so that ranks among them are exact as they are.
        own = [left_out(column) for column in benign_scores.T] if len(maps) > 1 else [maps[0](benign_scores[:, 0])]
        return cls(maps, np.sort(np.stack(own, 1).max(1)))

    @property
    def attainable(self) -> float:
        """The least p-value that it can give."""
        return 1.0 / (len(self.benign) + 1)

    def surprises(self, scores: Floats) -> Floats:
        """(n, columns) scores -> (n, columns) surprises, comparable between columns."""
        return np.stack([to(column) for to, column in zip(self.maps, scores.T, strict=True)], 1)

    def p_values(self, surprise: Floats) -> Floats:
        """(n,) greatest surprises -> (n,) conformal p-values, (1 + benign rows at least as surprising) / (n + 1)."""
        at_least = len(self.benign) - np.searchsorted(self.benign, surprise, side="left")
        return np.asarray((1.0 + at_least) / (len(self.benign) + 1.0))

    def threshold(self, false_alarm_rate: float) -> float:
        """Greatest surprise that raises no alert at the rate, or at the attainable one where that is greater."""
        n = len(self.benign)
        allowed = max(0, int(np.floor(false_alarm_rate * (n + 1) + 1e-9)) - 1)
        return float(self.benign[n - 1 - min(allowed, n - 1)])
