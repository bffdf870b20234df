"""A labelled table: feature rows in order, the family of each, and the groups that no split may cut."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import UserError

BENIGN = "benign"
"""The label of normal life; every other label is the name of a family."""
UNGROUPED = -1
"""The group of a row that stands for itself."""

Labels = NDArray[np.object_]
Rows = NDArray[np.int64]


class EpisodeError(UserError):
    """A table cannot give the episodes asked for, or giving them would leak."""


@dataclass(frozen=True, eq=False)
class LabelledTable:
    """n rows of d feature columns with their labels, in file or time order.

    >>> table = labelled_table("t", "lab", pl.DataFrame({"x": [1, 1, 2]}), ["benign", "benign", "worm"])
    >>> table.features.height, table.families
    (2, ('worm',))
    """

    name: str
    corpus: str
    """The test bed or laboratory it comes from: what meta-training saw is never scored."""
    features: pl.DataFrame
    """(n, d) numbers, truth values and texts; exact duplicates are gone."""
    labels: Labels
    """(n,) `BENIGN` or the name of a family."""
    groups: Rows | None = None
    """(n,) session, capture or host of each row, an index into `group_names`; `UNGROUPED` for none."""
    group_names: tuple[str, ...] = ()
    duplicates_dropped: int = 0
    """How many rows were left out because an earlier one had the same cells and label."""

    def __post_init__(self) -> None:
        if len(self.labels) != self.features.height:
            raise EpisodeError(f"table {self.name}: {self.features.height} rows and {len(self.labels)} labels")
        if self.groups is not None and len(self.groups) != self.features.height:
            raise EpisodeError(f"table {self.name}: {self.features.height} rows and {len(self.groups)} groups")

    @cached_property
    def _rows_by_label(self) -> dict[str, Rows]:
        frame = pl.DataFrame({"label": pl.Series(self.labels.tolist(), dtype=pl.String)}).with_row_index("row")
        grouped = frame.group_by("label", maintain_order=True).agg("row")
        return {str(label): np.asarray(rows, np.int64) for label, rows in grouped.iter_rows()}

    def __len__(self) -> int:
        return self.features.height

    @property
    def families(self) -> tuple[str, ...]:
        """Return the names of all families, sorted."""
        return tuple(sorted(set(self._rows_by_label) - {BENIGN}))

    def rows_of(self, label: str) -> Rows:
        """Return the row numbers of one label, in order; empty where the table has none."""
        return self._rows_by_label.get(label, np.empty(0, np.int64))

    def group_name(self, group: int) -> str:
        """Return a group's name, for messages."""
        return self.group_names[group] if 0 <= group < len(self.group_names) else str(group)

    def take(self, rows: Rows) -> LabelledTable:
        """Return the table of some rows, in the order given."""
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, features=self.features[rows], labels=self.labels[rows], groups=groups)

    def named(self, rows: Rows, family: str) -> LabelledTable:
        """Return the same rows, those given (in order) of one family and all others benign."""
        labels = np.full(len(self), BENIGN, dtype=object)
        labels[rows] = family
        table = replace(self, labels=labels)
        others = np.ones(len(self), bool)
        others[rows] = False
        # Known already, and samplers ask for it many times a second.
        table.__dict__["_rows_by_label"] = {BENIGN: np.flatnonzero(others).astype(np.int64), family: rows}
        return table

    def only(self, families: Collection[str]) -> LabelledTable:
        """Return the table without the families that are not named; benign rows stay."""
        wanted = np.isin(self.labels.astype(str), [BENIGN, *families])
        return self.take(np.flatnonzero(wanted).astype(np.int64))


def labelled_table(
    name: str,
    corpus: str,
    features: pl.DataFrame,
    labels: Sequence[str] | Labels,
    groups: Sequence[str | None] | pl.Series | None = None,
) -> LabelledTable:
    """Make a table of (n, d) feature rows, n labels and, where known, n group names; drop exact duplicates.

    A duplicate has the same cells and the same label as a row before it; the first one stays. Metered flows are a
    table like any other: their feature frame, a label a flow, and the capture as the group.

    Raises:
        EpisodeError: no columns, or counts that differ.
    """
    if features.width == 0:
        raise EpisodeError(f"table {name}: no feature column is left; drop fewer columns")
    told = np.array([str(label) for label in labels], dtype=object)
    if len(told) != features.height:
        raise EpisodeError(f"table {name}: {features.height} rows and {len(told)} labels")
    kept = first_of_each(features, told)
    numbers: Rows | None = None
    names: tuple[str, ...] = ()
    if groups is not None:
        numbers, names = _number_groups(pl.Series("group", list(groups), dtype=pl.String))
        if len(numbers) != features.height:
            raise EpisodeError(f"table {name}: {features.height} rows and {len(numbers)} groups")
        numbers = numbers[kept]
    return LabelledTable(name, corpus, features[kept], told[kept], numbers, names, features.height - len(kept))


def first_of_each(features: pl.DataFrame, labels: Labels) -> Rows:
    """Return the row numbers that stay when rows with the same cells and label as an earlier one go."""
    row, label = "\x00row", "\x00label"  # no source names a column like this
    keyed = features.with_columns(pl.Series(label, labels.astype(str).tolist(), dtype=pl.String)).with_row_index(row)
    kept = keyed.unique([*features.columns, label], keep="first", maintain_order=True)
    return kept[row].to_numpy().astype(np.int64)


def _number_groups(groups: pl.Series) -> tuple[Rows, tuple[str, ...]]:
    names = groups.drop_nulls().unique(maintain_order=True).to_list()
    numbered = groups.replace_strict(names, list(range(len(names))), default=None, return_dtype=pl.Int64)
    return numbered.fill_null(UNGROUPED).to_numpy().astype(np.int64), tuple(names)
