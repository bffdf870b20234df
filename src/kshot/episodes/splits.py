"""Which rows may be shown and which asked: at random or in blocks of time, groups kept whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kshot.episodes.tables import BENIGN, UNGROUPED, EpisodeError, LabelledTable, Rows

Split = Literal["iid", "blocked"]
"""`iid`: rows drawn at random. `blocked`: shown rows from the first half of each class in order, asked ones from the
last 40 %, a gap between, so that no neighbours of one burst are on both sides."""
SHOWN, ASKED, GAP = 0, 1, 2
_SHOWN_SHARE, _ASKED_SHARE = 0.5, 0.6


@dataclass(frozen=True, slots=True)
class Sides:
    """Row numbers of one class, shuffled, on either side."""

    shown: Rows
    asked: Rows


class Splitter:
    """Divides the rows of one table's classes for one episode.

    Groups are given to a side when the first class that holds them is split, and keep it for all later classes.
    """

    def __init__(self, table: LabelledTable, split: Split, rng: np.random.Generator, n_reference: int) -> None:
        self._table = table
        self._split = split
        self._rng = rng
        self._n_reference = n_reference
        self._side_of: dict[int, int] = {}

    def family(self, name: str) -> Sides:
        """Split a family that is shown and asked."""
        return self._divide(self._table.rows_of(name), None)

    def benign(self) -> Sides:
        """Split the benign rows: at random, all but the reference may be asked."""
        return self._divide(self._table.rows_of(BENIGN), self._n_reference)

    def _divide(self, rows: Rows, n_shown: int | None) -> Sides:
        grouped = self._table.groups is not None and bool((self._table.groups[rows] != UNGROUPED).any())
        if grouped:
            shown, asked = self._by_group(rows)
            return Sides(self._rng.permutation(shown), self._rng.permutation(asked))
        if self._split == "blocked":
            half, gap_end = int(_SHOWN_SHARE * len(rows)), int(_ASKED_SHARE * len(rows))
            return Sides(self._rng.permutation(rows[:half]), self._rng.permutation(rows[gap_end:]))
        drawn = self._rng.permutation(rows)
        cut = len(rows) // 2 if n_shown is None else n_shown
        return Sides(drawn[:cut], drawn[cut:])

    def _by_group(self, rows: Rows) -> tuple[Rows, Rows]:
        """Give each group of `rows` to one side by where its middle falls; a row without group is one of its own."""
        assert self._table.groups is not None
        keys = self._table.groups[rows]
        keys = np.where(keys == UNGROUPED, -2 - rows, keys)
        groups, first, counts = np.unique(keys, return_index=True, return_counts=True)
        order = self._rng.permutation(len(groups)) if self._split == "iid" else np.argsort(first, kind="stable")
        middle = (np.cumsum(counts[order]) - counts[order] / 2.0) / len(rows)
        shown_until, asked_from = (0.5, 0.5) if self._split == "iid" else (_SHOWN_SHARE, _ASKED_SHARE)
        sides = np.where(middle < shown_until, SHOWN, np.where(middle >= asked_from, ASKED, GAP))
        sides[0], sides[-1] = SHOWN, ASKED  # two groups are enough to have both sides
        for group, side in zip(groups[order].tolist(), sides.tolist(), strict=True):
            self._side_of.setdefault(group, side)
        side_of_row = np.array([self._side_of[key] for key in keys.tolist()])
        return rows[side_of_row == SHOWN], rows[side_of_row == ASKED]


def split_by_corpus(
    tables: Sequence[LabelledTable], held_out: Collection[str]
) -> tuple[list[LabelledTable], list[LabelledTable]]:
    """Divide tables into those of other corpora and those of the corpora held out.

    Raises:
        EpisodeError: a corpus held out that no table has, or nothing left on a side.
    """
    known = {table.corpus for table in tables}
    strange = sorted(set(held_out) - known)
    if strange:
        raise EpisodeError(f"no table is of corpus {strange[0]}; the corpora are {', '.join(sorted(known))}")
    seen = [table for table in tables if table.corpus not in held_out]
    unseen = [table for table in tables if table.corpus in held_out]
    if not seen or not unseen:
        raise EpisodeError(f"holding out {', '.join(sorted(held_out)) or 'no corpus'} leaves one side without tables")
    return seen, unseen


def split_by_family(
    tables: Sequence[LabelledTable], held_out_share: float, rng: np.random.Generator
) -> tuple[list[LabelledTable], list[LabelledTable]]:
    """Hold out a share of the families of every corpus; each side keeps the benign rows.

    A family that several tables of a corpus have is on one side in all of them.

    Raises:
        EpisodeError: a corpus has a single family, so that one side would have none.
    """
    held: dict[str, set[str]] = {}
    for corpus in sorted({table.corpus for table in tables}):
        families = sorted({family for table in tables if table.corpus == corpus for family in table.families})
        if len(families) < 2:
            raise EpisodeError(f"corpus {corpus} has {len(families)} families; two are needed to hold one out")
        count = min(len(families) - 1, max(1, round(held_out_share * len(families))))
        held[corpus] = set(rng.permutation(np.array(families, dtype=object))[:count].tolist())
    seen = [table.only([f for f in table.families if f not in held[table.corpus]]) for table in tables]
    unseen = [table.only([f for f in table.families if f in held[table.corpus]]) for table in tables]
    return [t for t in seen if t.families], [t for t in unseen if t.families]


def split_by_time(table: LabelledTable, first_share: float) -> tuple[LabelledTable, LabelledTable]:
    """Divide a table in its order: each class's first rows, and the rest; groups stay whole.

    Raises:
        EpisodeError: one side would be empty.
    """
    position = np.zeros(len(table))
    for label in (*table.families, BENIGN):
        rows = table.rows_of(label)
        position[rows] = np.arange(len(rows)) / max(1, len(rows))
    late = position >= first_share if table.groups is None else _late_groups(table.groups, position, first_share)
    first, second = np.flatnonzero(~late).astype(np.int64), np.flatnonzero(late).astype(np.int64)
    if not len(first) or not len(second):
        raise EpisodeError(f"table {table.name}: a split at {first_share:g} of its rows leaves one side empty")
    return table.take(first), table.take(second)


def _late_groups(groups: Rows, position: NDArray[np.float64], first_share: float) -> NDArray[np.bool_]:
    """(n,) whether a row's group is among the last, groups in the order of their middle; ungrouped rows stand alone."""
    keys = np.where(groups == UNGROUPED, -2 - np.arange(len(groups)), groups)
    _, of_row, counts = np.unique(keys, return_inverse=True, return_counts=True)
    middle = np.bincount(of_row, position) / counts
    order = np.argsort(middle, kind="stable")
    until = np.empty(len(order))
    until[order] = (np.cumsum(counts[order]) - counts[order] / 2.0) / len(groups)
    return np.asarray(until[of_row] >= first_share, bool)
