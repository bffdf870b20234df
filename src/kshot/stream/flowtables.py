"""Flows that `kshot flows` wrote, read back from Parquet, JSON lines or CSV."""

from __future__ import annotations

import polars as pl
from polars.exceptions import PolarsError

from kshot.records.flows import FLOW_SCHEMA


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
