"""Frames of any schema as plain numbers: what the encoding measures, column by column."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import UserError

Floats = NDArray[np.float64]
Frame = pl.DataFrame | NDArray[np.float64]
"""(n, d) rows: a polars frame, or plain numbers (NaN where missing)."""

_SHOT_LEVELS = 4
"""Values of the shots in a category that get a column of their own."""
_TEXT_DISTINCT = 40
"""More distinct strings than this, and more than one in ten rows, is free text rather than a category."""
_NUMERIC_SHARE = 0.98
_PACKET = re.compile(r"data_(\d+)_(bytes|pause_seconds)")
"""The columns of a metered flow that hold its first packets, in order (features/sequence.py)."""
PACKETS = 8
"""How many of the first data packets have such columns."""


class LearnerInputError(UserError):
    """What a learner was given cannot be used as it is."""


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    kind: str
    """number, category or text."""
    shares: dict[str, float]
    """Category: each value's share of the reference."""
    levels: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        if self.kind == "number":
            return [self.name]
        if self.kind == "text":
            return [f"{self.name} {what}" for what in ("length", "digits", "letters", "distinct")]
        return [f"share of {self.name}", *(f"{self.name} = {level}" for level in self.levels)]


class Reader:
    """Turns frames of one schema into numbers, by what the reference and the shots hold.

    Numbers stay; a category becomes its share of the reference and whether it equals a shot's; a text its length,
    shares of digits and letters, and share of distinct characters. Dates and nested columns are left out.
    """

    def __init__(self, reference: Frame, shots: Frame) -> None:
        """Learn the columns from (n, d) reference and (k, d) shot rows.

        Raises:
            LearnerInputError: the two have different columns, or none that can be read.
        """
        known, shown = as_frame(reference), as_frame(shots)
        if known.columns != shown.columns:
            raise LearnerInputError("the shots have other columns than the reference; give the same to both")
        self.names = known.columns
        schema = known.schema
        plans = [
            _Plan(name, "number", {}) if _holds_numbers(schema[name]) else _plan(known[name], shown[name])
            for name in self.names
        ]
        self._plans = [plan for plan in plans if plan is not None]
        self.columns = [column for plan in self._plans for column in plan.columns]
        """Names of the d numeric columns that `read` gives."""
        widths = np.cumsum([0, *(len(plan.columns) for plan in self._plans)])
        self._source = [plan.name for plan in self._plans for _ in plan.columns]
        self._first = {plan.name: int(at) for plan, at in zip(self._plans, widths, strict=False)}
        if not self.columns:
            raise LearnerInputError("no column holds numbers, truth values or texts; give one that does")
        self.packets = np.array([_packet(name) for name in self.columns], np.int64)
        """(d,) which of the first packets' cells a column is: 1..8 sizes, 9..16 pauses, 0 anything else."""

    def read(self, rows: Frame, order: NDArray[np.intp] | None = None) -> Floats:
        """Return (n, d) numbers, NaN where missing; with `order` only those columns, in that order.

        Raises:
            LearnerInputError: a column is lacking.
        """
        frame = as_frame(rows, self.names)
        there = set(frame.columns)
        lacking = [name for name in self.names if name not in there]
        if lacking:
            raise LearnerInputError(f"the rows lack the column {lacking[0]}, which the reference has")
        order = np.arange(len(self.columns)) if order is None else order
        out = np.full((len(frame), len(self.columns)), np.nan)
        if not len(frame):
            return out[:, order]
        wanted = {self._source[i] for i in order}
        schema = frame.schema
        # All columns of numbers in one go: what a frame library asks for each call is more than the work.
        numbers = [
            p.name for p in self._plans if p.kind == "number" and p.name in wanted and _holds_numbers(schema[p.name])
        ]
        if numbers:
            block = frame.select(pl.col(numbers).cast(pl.Float64)).to_numpy()
            out[:, [self._first[name] for name in numbers]] = np.clip(block, -1e30, 1e30)
        for plan in self._plans:
            if plan.name in wanted and plan.name not in numbers:
                at = self._first[plan.name]
                out[:, at : at + len(plan.columns)] = _read(plan, frame[plan.name])
        return out[:, order]


def as_frame(rows: Frame, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return rows as a frame; plain numbers get `names`, or x0, x1, ..."""
    if isinstance(rows, pl.DataFrame):
        return rows
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2:
        raise LearnerInputError(f"rows must be a table of two dimensions, not {rows.ndim}")
    names = names if names is not None and len(names) == rows.shape[1] else [f"x{i}" for i in range(rows.shape[1])]
    return pl.DataFrame({name: rows[:, i] for i, name in enumerate(names)})


def plain_numbers(rows: Frame) -> Floats:
    """Return (n, d) the numeric columns as they are: for tasks of one fixed schema, such as regression.

    Raises:
        LearnerInputError: a column that is no number.
    """
    frame = as_frame(rows)
    texts = [name for name, dtype in frame.schema.items() if not (dtype.is_numeric() or dtype == pl.Boolean)]
    if texts:
        raise LearnerInputError(f"column {texts[0]} holds no numbers; only the relative encoding reads such columns")
    return frame.cast(pl.Float64).to_numpy().astype(np.float64)


def _packet(name: str) -> int:
    found = _PACKET.fullmatch(name)
    if not found or not 1 <= int(found[1]) <= PACKETS:
        return 0
    return int(found[1]) + (0 if found[2] == "bytes" else PACKETS)


def _plan(known: pl.Series, shown: pl.Series) -> _Plan | None:
    name, dtype = known.name, known.dtype
    if dtype != pl.String and not isinstance(dtype, pl.Categorical | pl.Enum):
        return None
    counts = Counter(value for value in known.cast(pl.String).to_list() if value is not None)
    of_shots = Counter(value for value in shown.cast(pl.String).to_list() if value is not None)
    both = counts + of_shots
    numeric = sum(count for value, count in both.items() if _is_number(value))
    if both and numeric >= _NUMERIC_SHARE * both.total():
        return _Plan(name, "number", {})
    if len(counts) > max(_TEXT_DISTINCT, 0.1 * counts.total()):
        return _Plan(name, "text", {})
    shares = {value: count / max(1, len(known)) for value, count in counts.items()}
    # The commonest values of the shots; ties by name, so that the order of rows changes nothing.
    common = sorted(of_shots.items(), key=lambda pair: (-pair[1], pair[0]))
    return _Plan(name, "category", shares, tuple(value for value, _ in common[:_SHOT_LEVELS]))


def _holds_numbers(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read(plan: _Plan, column: pl.Series) -> Floats:
    if plan.kind == "number":
        numbers = column.cast(pl.String).cast(pl.Float64, strict=False) if _is_text(column) else column.cast(pl.Float64)
        out: Floats = numbers.fill_null(float("nan")).to_numpy().astype(np.float64)[:, None]
        return np.clip(out, -1e30, 1e30)
    strings = column.cast(pl.String)
    if plan.kind == "text":
        return _text(strings)
    values = strings.to_list()
    share = np.array([plan.shares.get(value, 0.0) for value in values])
    equal = [np.array([value == level for value in values], np.float64) for level in plan.levels]
    return np.column_stack([share, *equal])


def _is_text(column: pl.Series) -> bool:
    return column.dtype == pl.String or isinstance(column.dtype, pl.Categorical | pl.Enum)


def _text(strings: pl.Series) -> Floats:
    """(n, 4) length, shares of digits and letters, share of distinct characters; NaN where missing."""
    text = pl.col("text")
    length = text.str.len_chars().cast(pl.Float64)
    counts = (text.str.count_matches(r"\d"), text.str.count_matches(r"\pL"), text.str.split("").list.n_unique())
    shares = [(count.cast(pl.Float64) / length.clip(1.0)).alias(f"{i}") for i, count in enumerate(counts)]
    return np.asarray(strings.alias("text").to_frame().select(length, *shares).to_numpy(), np.float64)
