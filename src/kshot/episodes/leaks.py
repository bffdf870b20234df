"""What would give an answer away: shared rows and groups, repeated cells, one column that tells all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.episodes.episode import Episode
from kshot.episodes.ranks import mid_ranks
from kshot.episodes.tables import BENIGN, UNGROUPED, EpisodeError, LabelledTable, Labels, Rows, first_of_each

GIVES_AWAY = 0.99
"""A single column that separates attacks from benign rows with a greater AUROC is reported."""
_LEVELS = 100
"""A number with no more distinct values is also judged value by value, as a category is."""


class LeakError(EpisodeError):
    """A row, group or repeated cells would be on both sides, or a column is the label itself."""


def refuse_leaks(episode: Episode, table: LabelledTable) -> None:
    """Check that no row and no group is both shown and asked (`refuse_repeats` is for equal cells).

    Raises:
        LeakError: one is; names it.
    """
    shown = np.concatenate([episode.reference_rows, episode.shot_rows])
    where = f"episode of {episode.family} in table {episode.table} would leak"
    both = np.intersect1d(shown, episode.query_rows)
    if len(both):
        raise LeakError(f"{where}: row {int(both[0]) + 1} is shown and asked")
    if len(np.unique(shown)) != len(shown):
        raise LeakError(f"{where}: a row is shown twice")
    if table.groups is not None:
        groups = np.intersect1d(table.groups[shown], table.groups[episode.query_rows])
        groups = groups[groups != UNGROUPED]
        if len(groups):
            raise LeakError(f"{where}: group {table.group_name(int(groups[0]))} is shown and asked")


def repeated_across(first: LabelledTable, second: LabelledTable) -> int:
    """Count the rows of `second` whose cells and label `first` has too (the columns that both have are compared).

    Raises:
        EpisodeError: they share no column.
    """
    shared = [c for c in first.features.columns if c in second.features.columns]
    if not shared:
        raise EpisodeError(f"tables {first.name} and {second.name} share no column")
    left = _keyed(first, shared).unique()
    right = _keyed(second, shared)
    types = {c: left.schema[c] for c in left.columns}
    if any(right.schema[c] != types[c] for c in types):
        left, right = left.cast(pl.String), right.cast(pl.String)
    return right.join(left, on=left.columns, how="semi", nulls_equal=True).height


def refuse_repeats(table: LabelledTable) -> None:
    """Check that no row has the cells and label of one before it.

    Raises:
        LeakError: one has; names it.
    """
    kept = first_of_each(table.features, table.labels)
    if len(kept) < len(table):
        gone = np.setdiff1d(np.arange(len(table)), kept)
        raise LeakError(
            f"table {table.name}: row {int(gone[0]) + 1} repeats an earlier one ({len(gone):,} do); drop them first"
        )


def label_copies(features: pl.DataFrame, labels: Labels) -> list[str]:
    """Return the columns that are the label in other words: each value has one label, and each label one value."""
    told = pl.Series("\x00label", labels.astype(str).tolist(), dtype=pl.String)
    count = told.n_unique()
    out = []
    for column in features:
        # Counting values is quick; only a column with as many as there are labels needs a closer look.
        if count > 1 and not column.dtype.is_nested() and column.n_unique() == count:
            pairs = pl.DataFrame([column.alias("\x00value"), told]).unique()
            if pairs.height == count:
                out.append(column.name)
    return out


def both_ways(table: LabelledTable) -> int:
    """Count the rows whose cells occur with more than one label: no learner can get all of them right."""
    labels = pl.Series("\x00label", table.labels.astype(str).tolist(), dtype=pl.String)
    counted = (
        table.features.with_columns(labels)
        .group_by(table.features.columns)
        .agg(pl.len().alias("\x00rows"), pl.col("\x00label").n_unique().alias("\x00labels"))
    )
    return int(counted.filter(pl.col("\x00labels") > 1)["\x00rows"].sum())


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How well one column alone separates attacks from benign rows."""

    column: str
    auroc: float
    family: str = ""
    """The one family it was measured on; "" for all attacks together."""


def shortcut(table: LabelledTable) -> Shortcut | None:
    """Return the column that separates all attacks from benign rows best; None without rows of both."""
    told = _shortcuts(table, table.labels != BENIGN, np.arange(len(table)), "")
    return max(told, key=lambda s: (s.auroc, s.column), default=None)


def shortcuts_by_family(table: LabelledTable, least: float = GIVES_AWAY) -> list[Shortcut]:
    """Return, of each family with a column that alone reaches an AUROC of `least`, the best such column."""
    benign = table.rows_of(BENIGN)
    found: list[Shortcut] = []
    for family in table.families:
        rows = np.sort(np.concatenate([benign, table.rows_of(family)]))
        told = _shortcuts(table, table.labels == family, rows, family)
        best = max(told, key=lambda s: (s.auroc, s.column), default=None)
        if best is not None and best.auroc >= least:
            found.append(best)
    return found


def _shortcuts(table: LabelledTable, positive: NDArray[np.bool_], rows: Rows, family: str) -> list[Shortcut]:
    truth = np.asarray(positive[rows], bool)
    if not truth.any() or truth.all():
        return []
    frame = table.features[rows]
    return [Shortcut(name, column_auroc(frame[name], truth), family) for name in frame.columns]


def column_auroc(column: pl.Series, positive: NDArray[np.bool_]) -> float:
    """Return the AUROC, 0.5 to 1, of (n,) values alone against the truth.

    A number is scored as it is (missing below all), one with few distinct values and every text also by how often
    its value is an attack in the other half of the rows (odd and even ones), a text also by its length.
    """
    if column.dtype == pl.Boolean:
        column = column.cast(pl.UInt8)
    scores = []
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        scores.append(np.where(np.isnan(values), -np.inf, values))
        if column.n_unique() <= _LEVELS:
            scores.append(_attack_share(column, positive))
    elif column.dtype == pl.String or isinstance(column.dtype, pl.Categorical | pl.Enum):
        texts = column.cast(pl.String)
        scores.append(_attack_share(texts, positive))
        scores.append(texts.str.len_bytes().cast(pl.Float64).fill_null(-1.0).to_numpy())
    return max((_auroc(score, positive) for score in scores), default=0.5)


def _attack_share(column: pl.Series, positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) share of attacks among the rows of the other half that have the same value; a value new there: of all."""
    half = np.arange(len(column)) % 2
    frame = pl.DataFrame({"value": column, "attack": positive.astype(np.float64), "half": half})
    shares = frame.group_by("value", "half").agg(pl.col("attack").mean().alias("share"))
    shares = shares.with_columns((1 - pl.col("half")).alias("half"))
    joined = frame.join(shares, on=["value", "half"], how="left", nulls_equal=True, maintain_order="left")
    return joined["share"].fill_null(float(positive.mean())).to_numpy()


def _auroc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Mann-Whitney's U over the pairs, on whichever side is greater."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    ranks = mid_ranks(score)
    area = (float(ranks[positive].sum()) - n_positive * (n_positive + 1) / 2.0) / (n_positive * n_negative)
    return max(area, 1.0 - area)


def _keyed(table: LabelledTable, columns: list[str]) -> pl.DataFrame:
    labels = pl.Series("\x00label", table.labels.astype(str).tolist(), dtype=pl.String)
    return table.features.select(columns).with_columns(labels)
