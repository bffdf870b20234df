"""How the feature files declare their columns: short constructors over records.columns.Column."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.columns import Column, Tier

SIDES = (("orig", "originator"), ("resp", "responder"))
"""How names and meanings call the two ends of a flow."""


def number(name: str, unit: str, meaning: str, tier: Tier) -> Column:
    """Declare a numeric feature; null where it means nothing."""
    return Column(name, pl.Float32(), unit, meaning, tier)


def truth(name: str, meaning: str, tier: Tier) -> Column:
    """Declare a yes or no; null where it means nothing."""
    return Column(name, pl.Boolean(), "", meaning, tier)


def category(name: str, values: Iterable[str], meaning: str, tier: Tier) -> Column:
    """Declare a feature with a fixed list of values; null where it means nothing."""
    return Column(name, pl.Enum(list(values)), "", meaning, tier)


def both(name: str, unit: str, meaning: str, tier: Tier) -> list[Column]:
    """Declare one numeric feature for each end; `name` and `meaning` hold a `{}` for it."""
    return [number(name.format(side), unit, meaning.format(who), tier) for side, who in SIDES]


def to_series(column: Column, values: NDArray[np.float32]) -> pl.Series:
    """Turn one row of a kernel's output into the column: NaN is null, a category is its index."""
    series = pl.Series(column.name, values).fill_nan(None)
    if isinstance(column.dtype, pl.Enum):
        return series.cast(pl.UInt32).replace_strict(
            pl.Series(range(len(column.dtype.categories)), dtype=pl.UInt32),
            column.dtype.categories,
            return_dtype=column.dtype,
        )
    return series.cast(column.dtype)


def to_array(series: pl.Series, dtype: type[np.generic], null: float = 0) -> NDArray[Any]:
    """Copy a column out as a writable, contiguous array, so that every kernel is compiled for one type only."""
    return np.array(series.fill_null(null).to_numpy(), dtype)


def first_bytes(series: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Lay binary values end to end: the bytes and (n + 1,) where each begins."""
    values = series.fill_null(b"")
    starts = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values.bin.size().to_numpy(), out=starts[1:])
    return np.frombuffer(b"".join(values.to_list()), np.uint8).copy(), starts
