"""What is not known yet says nothing: missing history takes the reference's middle value."""

from __future__ import annotations

import polars as pl

from kshot.features.behaviour import COLUMNS

LEAST_KNOWN = 20
"""Reference records with a value below which a history column is not compared at all."""


def settle(frame: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Fill the missing history of `frame` with the reference's median, or most frequent value of a flag.

    A missing history is a fact about when the capture began, not about the record: shots cut into a short capture
    of their own would otherwise teach that whatever comes first is an attack. A column that the reference hardly
    knows is emptied in every frame that is settled by it.
    """
    known = [column.name for column in COLUMNS if column.name in frame.columns and column.name in reference.columns]
    types = frame.schema
    filled = []
    for name in known:
        values = reference[name].drop_nulls()
        if len(values) < LEAST_KNOWN:
            filled.append(pl.lit(None, dtype=types[name]).alias(name))
        elif frame[name].null_count():
            middle = bool(values.mean() >= 0.5) if values.dtype == pl.Boolean else values.median()  # type: ignore[operator]
            filled.append(pl.col(name).fill_null(pl.lit(middle, dtype=types[name])))
    return frame.with_columns(filled)
