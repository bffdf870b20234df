"""An alert: records of one threat between the same parties, grouped."""

from __future__ import annotations

import polars as pl

CALIBRATED = ("site", "capture", "none")
"""What a p-value was measured on: a reference the user gave, the capture's own traffic, or nothing."""

ALERT_SCHEMA: dict[str, pl.DataType] = {
    "threat": pl.String(),
    "originator": pl.String(),
    "responder": pl.String(),
    "first_time": pl.Datetime("ns", "UTC"),
    "last_time": pl.Datetime("ns", "UTC"),
    "flows": pl.UInt32(),
    "score": pl.Float64(),
    "p_value": pl.Float64(),
    "calibrated": pl.Enum(CALIBRATED),
    "attack": pl.List(pl.String()),
    "reasons": pl.List(pl.String()),
    "first_record": pl.UInt64(),
}
"""One row an alert. `originator`, `responder` and the times are null for tables that have none; `flows` counts the
records grouped; `score` and `p_value` are those of the loudest record (p_value null where nothing calibrates);
`reasons` are the three features that speak loudest, as text; `first_record` is that record's row in the input,
from 1."""
