"""Flows that `kshot flows` wrote, read back from Parquet, JSON lines or CSV."""

from __future__ import annotations

import polars as pl
from polars.exceptions import PolarsError

from kshot.records.flows import FLOW_SCHEMA
from kshot.sources.standard_input import FLOW_LINE_SCHEMA


def as_flows(table: pl.DataFrame) -> pl.DataFrame | None:
    """Return the table as a flow frame (FLOW_SCHEMA); None when it is not one.

    CSV and JSON hold bytes as hex and lists, in CSV, as JSON text.
    """
    if not all(name in table.columns for name in FLOW_SCHEMA):
        return None
    try:
        return table.select(_typed(table.schema[name], name, dtype) for name, dtype in FLOW_SCHEMA.items())
    except PolarsError:
        return None


def _typed(found: pl.DataType, name: str, wanted: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if found == wanted:
        return column
    if wanted == pl.Binary and found == pl.String:
        return column.str.decode("hex")
    if isinstance(wanted, pl.List) and found == pl.String:
        return column.str.json_decode(wanted)
    if isinstance(wanted, pl.Datetime) and found == pl.String:
        return column.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ns").dt.replace_time_zone("UTC")
    return column.cast(wanted)


def whole_flows(frame: pl.DataFrame) -> pl.DataFrame:
    """Flows of our own JSON lines in their types, without those that say nonsense; others are so already."""
    if dict(frame.schema) != FLOW_LINE_SCHEMA:
        return frame
    whole = as_flows(frame)
    if whole is not None:
        return whole
    # One row that says nonsense must not take its neighbours with it.
    rows = [flow for row in range(frame.height) if (flow := as_flows(frame[row])) is not None]
    return pl.concat([pl.DataFrame(schema=FLOW_SCHEMA), *rows])
