"""What would have to change for a row not to alarm: the fewest columns, as a benign row has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Alarms = Callable[[pl.DataFrame], tuple[NDArray[np.float64], NDArray[np.bool_]]]
"""(n) rows -> (n,) how loud each is, and (n,) whether it alarms."""
_ONE_BY_ONE = 8
"""Columns that are chosen each for what it does beside those before; the others by what each does alone."""


@dataclass(frozen=True, slots=True)
class Change:
    """One column, as it would have to be."""

    column: str
    value: Any
    """The row's; None where missing."""
    instead: Any
    """The benign row's."""


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """Changes with all of which a row does not alarm, and without any one of which it does."""

    changes: tuple[Change, ...]
    benign_row: int
    """Which of the benign rows offered the values are from."""


def find_counterfactual(row: pl.DataFrame, benign: pl.DataFrame, alarms: Alarms) -> Counterfactual | None:
    """Search the fewest columns of `row` (one row) that must be as in one of the `benign` rows for it not to alarm.

    Of these the first that does not alarm itself is taken. Columns are moved one by one, each time the one that
    leaves the row least loud; then any that is not needed goes back. Every step is scored: what is returned was found
    not to alarm, though a smaller set may exist. No changes if the row does not alarm; None if all benign rows do.
    """
    if not alarms(row)[1][0]:
        return Counterfactual((), -1)
    quiet = np.flatnonzero(~alarms(benign)[1]) if len(benign) else np.empty(0, np.intp)
    if not len(quiet):
        return None
    which = int(quiet[0])
    both = pl.concat([row, benign[which : which + 1].select(row.columns)])
    differing = [
        j for j, name in enumerate(row.columns) if not both[name][0:1].equals(both[name][1:2], null_equal=True)
    ]
    moved = _prune(_move(both, differing, alarms), both, alarms)
    names = [row.columns[j] for j in np.flatnonzero(moved)]
    return Counterfactual(tuple(Change(name, both[name][0], both[name][1]) for name in names), which)


def _move(both: pl.DataFrame, columns: list[int], alarms: Alarms) -> NDArray[np.bool_]:
    """(columns,) which are moved so that the row no longer alarms; in the end all."""
    moved = np.zeros(both.width, bool)
    left = list(columns)
    for _ in range(_ONE_BY_ONE):
        if not left:
            return moved
        tries = np.repeat(moved[None], len(left), axis=0)
        tries[np.arange(len(left)), left] = True
        loud, alarm = alarms(_mixed(both, tries))
        best = int(np.argmin(np.where(alarm, loud, loud - 1e12)))
        moved = np.asarray(tries[best])
        if not alarm[best]:
            return moved
        order = np.argsort(loud, kind="stable")
        left = [left[i] for i in order if i != best]
    tries = np.repeat(moved[None], len(left), axis=0)
    for i in range(len(left)):
        tries[i, left[: i + 1]] = True
    _, alarm = alarms(_mixed(both, tries))
    return np.asarray(tries[int(np.argmin(alarm))])


def _prune(moved: NDArray[np.bool_], both: pl.DataFrame, alarms: Alarms) -> NDArray[np.bool_]:
    """Put columns back as long as the row does not alarm again."""
    while moved.sum() > 1:
        chosen = np.flatnonzero(moved)
        tries = np.repeat(moved[None], len(chosen), axis=0)
        tries[np.arange(len(chosen)), chosen] = False
        loud, alarm = alarms(_mixed(both, tries))
        if alarm.all():
            return moved
        moved = np.asarray(tries[int(np.argmin(np.where(alarm, np.inf, loud)))])
    return moved


def _mixed(both: pl.DataFrame, moved: NDArray[np.bool_]) -> pl.DataFrame:
    """(n, columns) flags -> n rows, each value the first row's or, where flagged, the second's."""
    return pl.DataFrame([both[name].gather(moved[:, j].astype(np.int64)) for j, name in enumerate(both.columns)])
