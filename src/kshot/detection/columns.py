"""Which kind each column is, and how its values become numbers: numbers, categories, truth values, free text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.frames import BadInputError
from kshot.detection.text import TEXT_STATISTICS, text_statistics

Kind = Literal["number", "category", "text", "ignored"]

_LEVELS = 10
"""Commonest values of a category that get a column of their own, beside those of the shots."""
_TEXT_DISTINCT = 40
"""More distinct strings than this, and more than one in ten rows, is free text rather than a category."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one input column is read."""

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    """Category: the values with a 0/1 column of their own."""
    shares: tuple[tuple[str, float], ...] = ()
    """Category: every value seen in the reference with its share of rows."""
    missing: bool = False
    """Whether some support rows lack a value, so that "is missing" is a column too."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One numeric column made from an input column."""

    name: str
    source: str
    role: Literal["number", "level", "rarity", "missing", "statistic"]


class Columns:
    """Reads frames of one schema into numbers and texts."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = tuple(plans)
        self.names = [p.name for p in self.plans]
        self.texts = [p.name for p in self.plans if p.kind == "text"]
        self.cells = [cell for plan in self.plans for cell in _cells_of(plan)]
        numbers = {p.name for p in self.plans if p.kind == "number"}
        self.implied = [cell.role == "missing" and cell.source in numbers for cell in self.cells]
        """Of each cell, whether another one's raw value already says all that it says."""
        self._widths = [len(_cells_of(plan)) for plan in self.plans]

    @classmethod
    def learn(cls, support: pl.DataFrame, benign: NDArray[np.bool_]) -> Columns:
        """Decide on every column of the `support` rows, of which `benign` (n,) marks the reference."""
        numbers = _numbers_of(support)
        return cls(
            [
                Plan(name, "number", missing=bool(np.isnan(numbers[name]).any()))
                if name in numbers
                else _plan(support[name], benign)
                for name in support.columns
            ]
        )

    def read(self, frame: pl.DataFrame) -> tuple[NDArray[np.float64], dict[str, list[str]]]:
        """Return ((n, cells) numbers with NaN where missing, {text column: n strings}).

        Raises:
            BadInputError: a column seen at fit is missing.
        """
        lacking = [name for name in self.names if name not in frame.columns]
        if lacking:
            named = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
            raise BadInputError("X", f"lacks {named}, which fit saw", "give the same columns as at fit")
        out = np.empty((len(frame), len(self.cells)))
        texts: dict[str, list[str]] = {}
        numbers = _numbers_of(frame.select(self.names))
        at = 0
        for plan, width in zip(self.plans, self._widths, strict=True):
            if width:
                if plan.kind == "number":
                    mine = numbers[plan.name] if plan.name in numbers else _numbers(frame[plan.name])
                    block, strings = _number_cells(plan, mine), None
                else:
                    block, strings = _read_column(plan, frame[plan.name])
                out[:, at : at + width] = block
                if strings is not None:
                    texts[plan.name] = strings
            at += width
        return out, texts


def _cells_of(plan: Plan) -> list[Cell]:
    name = plan.name
    cells: list[Cell] = []
    if plan.kind == "number":
        cells = [Cell(name, name, "number")]
    elif plan.kind == "category":
        cells = [Cell(f"{name} = {level}", name, "level") for level in plan.levels]
        cells.append(Cell(f"share of {name} in the reference", name, "rarity"))
    elif plan.kind == "text":
        cells = [Cell(f"{name} {statistic}", name, "statistic") for statistic in TEXT_STATISTICS]
    if cells and plan.missing:
        cells.append(Cell(f"{name} is missing", name, "missing"))
    return cells


def _plan(column: pl.Series, benign: NDArray[np.bool_]) -> Plan:
    name, dtype = column.name, column.dtype
    if dtype == pl.Null:
        return Plan(name, "ignored")
    if not isinstance(dtype, pl.Categorical | pl.Enum) and dtype != pl.String:
        return Plan(name, "ignored")
    strings = column.cast(pl.String)
    present = strings.drop_nulls()
    missing = strings.null_count() > 0
    if not len(present):
        return Plan(name, "ignored")
    if dtype == pl.String:
        if present.cast(pl.Float64, strict=False).null_count() <= 0.02 * len(present):
            return Plan(name, "number", missing=bool(np.isnan(_numbers(column)).any()))
        if _is_text(present):
            return Plan(name, "text", missing=missing)
    known = strings.filter(pl.Series(benign)).drop_nulls()
    counts = known.value_counts(sort=True) if len(known) else present.value_counts(sort=True)
    pairs = sorted(counts.iter_rows(), key=lambda pair: (-pair[1], pair[0]))
    shots = strings.filter(pl.Series(~benign)).drop_nulls()
    of_shots = sorted(set(shots.to_list()))[:_LEVELS] if len(shots) else []
    levels = tuple(dict.fromkeys([value for value, _ in pairs[:_LEVELS]] + of_shots))
    shares = tuple((value, count / max(1, len(known))) for value, count in pairs) if len(known) else ()
    return Plan(name, "category", levels, shares, missing)


def _is_text(present: pl.Series) -> bool:
    distinct = present.n_unique()
    mean_length = float(present.str.len_chars().cast(pl.Float64).mean() or 0.0)  # type: ignore[arg-type]
    if distinct <= _TEXT_DISTINCT:
        # Few rows in all: long and nearly all different is text even so.
        return mean_length >= 12.0 and distinct > 0.5 * len(present) and distinct > 5
    return distinct > 0.1 * len(present)


def _read_column(plan: Plan, column: pl.Series) -> tuple[NDArray[np.float64], list[str] | None]:
    if plan.kind == "text":
        strings = column.cast(pl.String)
        texts = strings.fill_null("").to_list()
        block = text_statistics(texts)
        absent = strings.is_null().to_numpy().astype(np.float64)
        return (np.column_stack([block, absent]) if plan.missing else block), texts
    # Few values and many rows: what each value becomes is worked out once, for a call of polars costs more than that.
    share = dict(plan.shares)
    distinct, at = _distinct(column)
    told = [
        [
            *(float(value == level) for level in plan.levels),
            share.get(value, 0.0) if value is not None else 0.0,
            *([float(value is None)] * plan.missing),
        ]
        for value in distinct
    ]
    width = len(plan.levels) + 1 + plan.missing
    return np.array(told, np.float64).reshape(-1, width)[at], None


def _distinct(column: pl.Series) -> tuple[list[str | None], NDArray[np.intp]]:
    """The values that a category may have, missing last, and (n,) which each row has."""
    if isinstance(column.dtype, pl.Enum):  # rows hold numbers of its values
        values = column.dtype.categories.to_list()
        codes = column.to_physical().cast(pl.Int64).fill_null(len(values))
    else:
        strings = column.cast(pl.String)
        values = strings.drop_nulls().unique().to_list()
        codes = strings.replace_strict(values, list(range(len(values))), return_dtype=pl.Int64, default=len(values))
    return [*values, None], codes.to_numpy().astype(np.intp)


def _number_cells(plan: Plan, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = [numbers]
    if plan.missing:
        parts.append(np.isnan(numbers).astype(np.float64))
    return np.stack(parts, 1)


def _numbers_of(frame: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Read the columns of numbers, NaN where missing, in one go: a call of polars costs more than a column's work."""
    names = [name for name, dtype in frame.schema.items() if dtype.is_numeric() or dtype == pl.Boolean]
    block = frame.select(pl.col(names).cast(pl.Float64)).to_numpy().T if names else ()
    return dict(zip(names, block, strict=True))


def _numbers(column: pl.Series) -> NDArray[np.float64]:
    """Return (n,) floats of texts; NaN where missing or not a number."""
    numbers = column.cast(pl.String).cast(pl.Float64, strict=False)
    return numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
