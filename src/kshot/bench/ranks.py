"""A ranking of learners over tables, and which differences of rank are more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Ranking:
    """Mean ranks over tables (Demšar 2006)."""

    learners: tuple[str, ...]
    """Best first."""
    ranks: tuple[float, ...]
    """Mean rank of each over the tables, 1 the best."""
    n_tables: int
    p_value: float
    """Friedman's test that all are alike; nan with fewer than three learners or two tables."""
    critical_difference: float
    """Ranks that differ by less may be so by chance (Nemenyi, 95 %); nan with fewer than two tables."""

    def as_good_as(self, place: int) -> tuple[str, ...]:
        """Learners below `place` that are not told apart from it."""
        edge = self.ranks[place] + self.critical_difference
        return tuple(
            name for name, rank in zip(self.learners[place + 1 :], self.ranks[place + 1 :], strict=True) if rank < edge
        )


def paired_p(rows: pl.DataFrame, metric: str, first: str, second: str) -> float:
    """Wilcoxon's signed-rank test that two learners are alike over tables; nan with fewer than two that differ."""
    from scipy.stats import wilcoxon

    wide = table_means(rows, metric)
    difference = np.round(wide[first].to_numpy() - wide[second].to_numpy(), 9)
    difference = difference[difference != 0.0]
    return float(wilcoxon(difference, method="auto").pvalue) if len(difference) > 1 else float("nan")


def table_means(rows: pl.DataFrame, metric: str) -> pl.DataFrame:
    """Return one row a table and one column a learner: means over families, for tables that all learners have."""
    means = rows.group_by("data", "family", "learner").agg(pl.col(metric).mean())
    means = means.group_by("data", "learner").agg(pl.col(metric).mean())
    wide = means.pivot("learner", index="data", values=metric).drop_nulls().sort("data")
    return wide.select("data", *sorted(column for column in wide.columns if column != "data"))


def rank_learners(rows: pl.DataFrame, metric: str) -> Ranking:
    """Rank learners on each table by their mean over its families and seeds.

    Args:
        rows: results of one split and K, of episodes that all learners have.
        metric: higher is better.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    wide = table_means(rows, metric)
    names = wide.columns[1:]
    values = wide.select(names).to_numpy()
    n_tables, n_learners = values.shape
    if not n_tables:
        return Ranking((), (), 0, float("nan"), float("nan"))
    ranks = rankdata(-np.round(values, 9), axis=1)
    mean = ranks.mean(0)
    order = np.argsort(mean, kind="stable")
    p_value = float("nan")
    if n_learners > 2 and n_tables > 1 and np.ptp(ranks, axis=1).max() > 0.0:
        p_value = float(friedmanchisquare(*values.T).pvalue)
    difference = float("nan")
    if n_learners > 1 and n_tables > 1:
        quantile = float(studentized_range.ppf(_LEVEL, n_learners, np.inf)) / np.sqrt(2.0)
        difference = float(quantile * np.sqrt(n_learners * (n_learners + 1) / (6.0 * n_tables)))
    return Ranking(tuple(names[i] for i in order), tuple(float(mean[i]) for i in order), n_tables, p_value, difference)
