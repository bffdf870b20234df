"""Ground truth of a capture, a row a connection: which flow is of which connection, and so what it is."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from kshot.errors import InputError

SLACK_SECONDS = 1.0
"""How far a flow may lie outside its connection's time, which is told in microseconds."""
_TYPES = {
    "start": pl.String(), "end": pl.String(), "originator": pl.String(), "orig_port": pl.UInt16(),
    "responder": pl.String(), "resp_port": pl.UInt16(), "protocol": pl.UInt8(), "label": pl.String(),
}  # fmt: skip
_OPTIONAL = ("tool", "threat", "part")


def read_connections(path: Path) -> pl.DataFrame:
    """Read a truth CSV: `start` and `end` as datetimes, and the row's number as `connection`.

    A row for every connection of the capture, the benign ones too: `start, end` in seconds since 1970, `originator,
    orig_port, responder, resp_port, protocol`, and its `label`; `part` is "attack" for what the attacker opened,
    anything else for what came along with it.

    Raises:
        InputError: not such a file.
    """
    try:
        types = {**_TYPES, **dict.fromkeys(_OPTIONAL, pl.String())}
        frame = pl.read_csv(path, schema_overrides=types)
        absent = [pl.lit("").alias(name) for name in _OPTIONAL if name not in frame.columns]
        # Through decimal text, for a 64-bit float cannot hold nanoseconds since 1970.
        micro = [
            (pl.col(name).str.replace(".", "", literal=True).cast(pl.Int64) * 1000)
            .cast(pl.Datetime("ns", "UTC"))
            .alias(name)
            for name in ("start", "end")
        ]
        texts = pl.col("label", *_OPTIONAL).fill_null("")
        return frame.with_columns(absent).with_columns(*micro, texts).with_row_index("connection")
    except (OSError, pl.exceptions.PolarsError) as error:
        why = str(error).strip().split("\n", 1)[0]
        raise InputError(str(path), f"is no ground truth ({why})", f"it needs columns {', '.join(_TYPES)}") from error


def label_flows(flows: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Add `label`, `part`, `tool` and `connection` to a flow frame, row for row; null where truth knows none such.

    A flow belongs to the connection of the same ends whose time it shares the most of; a flow that the meter cut in
    slices or by an idle time-out stays with its connection.

    Args:
        flows: FLOW_SCHEMA.
        truth: as `read_connections` gives it.
    """
    keyed = _key(
        flows.select("originator", "responder", "orig_port", "resp_port", "protocol", "first_time", "last_time")
    )
    keyed = keyed.with_row_index("_flow")
    keys = ["_low", "_high", "protocol", "_icmp"]
    known = _key(truth).select(*keys, "start", "end", "label", "part", "tool", "connection")
    slack = pl.duration(milliseconds=int(SLACK_SECONDS * 1000))
    pairs = (
        keyed.join(known, on=keys)
        .filter((pl.col("first_time") <= pl.col("end") + slack) & (pl.col("last_time") >= pl.col("start") - slack))
        .with_columns(
            _away=(pl.col("first_time") - pl.col("start")).abs(),
            _shared=pl.min_horizontal("last_time", "end") - pl.max_horizontal("first_time", "start"),
        )
        .sort(["_flow", "_shared", "_away"], descending=[False, True, False])
        .unique("_flow", keep="first", maintain_order=True)
    )
    best = keyed.select("_flow").join(
        pairs.select("_flow", "label", "part", "tool", "connection"), on="_flow", how="left"
    )
    return flows.hstack(best.sort("_flow").drop("_flow"))


def _key(frame: pl.DataFrame) -> pl.DataFrame:
    """Add what two ways of naming a connection share: both ends in one order; ICMP by addresses and kind alone."""
    icmp = pl.col("protocol").is_in([1, 58])
    kind = pl.col("orig_port").replace({0: 8, 14: 13, 16: 15, 18: 17})
    ends = [
        pl.concat_str(
            pl.col(address), pl.when(icmp).then(pl.lit("")).otherwise(pl.col(port).cast(pl.String)), separator="|"
        )
        for address, port in (("originator", "orig_port"), ("responder", "resp_port"))
    ]
    frame = frame.with_columns(_a=ends[0], _b=ends[1], _icmp=pl.when(icmp).then(kind).otherwise(0))
    return frame.with_columns(_low=pl.min_horizontal("_a", "_b"), _high=pl.max_horizontal("_a", "_b")).drop("_a", "_b")
