"""Means over families, tables and corpora, and how sure they are: a paired bootstrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DRAWS = 2000
_LEVELS = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean (or a ratio of means) and its 95 % interval."""

    value: float
    low: float
    high: float


class Paired:
    """One metric of several learners on the episodes that all of them have."""

    def __init__(self, rows: pl.DataFrame, metric: str, learners: Sequence[str], draws: int = DRAWS) -> None:
        """Average and resample.

        Args:
            rows: results of one split and K.
            metric: a column of them.
            learners: in this order.
            draws: resamplings of corpora, families within a table, and episodes within a family.
        """
        self.learners = tuple(learners)
        wide = rows.pivot("learner", index=["corpus", "data", "family", "seed"], values=metric)
        self.n_episodes = 0
        absent = [name for name in learners if name not in wide.columns]
        if absent:
            return
        wide = wide.drop_nulls(list(learners)).sort("corpus", "data", "family", "seed")
        self.n_episodes = len(wide)
        if self.n_episodes:
            self._resample(wide, draws)

    def _resample(self, wide: pl.DataFrame, draws: int) -> None:
        rng = np.random.default_rng(0)
        points, drawn = [], []
        for _, corpus in wide.group_by("corpus", maintain_order=True):
            table_points, table_draws = [], []
            for _, table in corpus.group_by("data", maintain_order=True):
                families = [
                    family.select(self.learners).to_numpy()
                    for _, family in table.group_by("family", maintain_order=True)
                ]
                table_points.append(np.mean([family.mean(0) for family in families], axis=0))
                resampled = np.stack([_some(rng, draws, len(family)) @ family for family in families])
                table_draws.append(np.einsum("df,fdl->dl", _some(rng, draws, len(families)), resampled))
            points.append(np.mean(table_points, axis=0))
            drawn.append(np.mean(table_draws, axis=0))
        self.points: Floats = np.mean(points, axis=0)
        """(learners,) means over corpora."""
        self._drawn: Floats = np.einsum("dc,cdl->dl", _some(rng, draws, len(drawn)), np.stack(drawn))

    def mean(self, learner: str) -> Estimate:
        """A learner's mean."""
        place = self.learners.index(learner)
        return _estimate(self.points[place], self._drawn[:, place])

    def ratio(self, learner: str, peers: Sequence[str]) -> Estimate:
        """A learner's mean over that of the best of `peers`, whichever is best in each resampling."""
        place, others = self.learners.index(learner), [self.learners.index(peer) for peer in peers]
        best = np.maximum(self._drawn[:, others].max(1), 1e-12)
        return _estimate(
            self.points[place] / max(float(self.points[others].max()), 1e-12), self._drawn[:, place] / best
        )


def _some(rng: np.random.Generator, draws: int, n: int) -> Floats:
    """(draws, n) shares of each of n things in as many drawn with replacement."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=draws) / n


def _estimate(value: float, drawn: Floats) -> Estimate:
    low, high = np.percentile(drawn, _LEVELS)
    return Estimate(float(value), float(low), float(high))
