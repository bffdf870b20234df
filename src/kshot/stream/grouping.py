"""Alerts from verdicts: one threat between the same parties, split where it was quiet."""

from __future__ import annotations

import polars as pl

QUIET_SECONDS = 3600.0
"""A pause longer than this between two records of a group begins a new alert: beacons rarely wait longer."""


def number_groups(records: pl.DataFrame, keys: list[str], quiet_seconds: float = QUIET_SECONDS) -> pl.Series:
    """Number the group of each row, from 0.

    Parameters:
        records: `keys` and first_time, last_time; a row with neither originator nor responder is a group by itself.
        keys: columns that must be equal within a group; "originator" and "responder" among them.
    """
    if records.height == 0:
        return pl.Series("group", [], dtype=pl.UInt32)
    quiet = pl.duration(nanoseconds=round(quiet_seconds * 1e9))
    nobody = pl.col("originator").is_null() & pl.col("responder").is_null()
    alone = pl.when(nobody).then(pl.col("kshot.at"))
    ordered = records.with_row_index("kshot.at").with_columns(alone.alias("kshot.alone"))
    parties = [*keys, "kshot.alone"]
    ordered = ordered.sort("first_time", "kshot.at", nulls_last=True).with_columns(
        # The group may hold one long record among short ones: quiet is counted from the last end seen so far.
        pl.col("last_time").cum_max().shift(1).over(parties).alias("kshot.before")
    )
    begins = (pl.col("first_time") - pl.col("kshot.before") > quiet).fill_null(False)
    ordered = ordered.with_columns(begins.cum_sum().over(parties).alias("kshot.part"))
    numbered = ordered.with_columns(
        (pl.struct(*parties, "kshot.part").rank("dense") - 1).cast(pl.UInt32).alias("group")
    )
    return numbered.sort("kshot.at")["group"]


def group_alerts(alarms: pl.DataFrame, quiet_seconds: float = QUIET_SECONDS) -> pl.DataFrame:
    """Group alarmed records into alerts, the loudest first.

    Parameters:
        alarms: row (UInt64), threat, score, p_value, originator, responder, first_time, last_time.

    Returns a frame with threat, originator, responder, first_time, last_time, flows, score, p_value and `row`, that
    of the loudest record: the least p-value, then the greatest score, then the first.
    """
    keys = ["threat", "originator", "responder"]
    loudest_first = alarms.with_columns(number_groups(alarms, keys, quiet_seconds).alias("group")).sort(
        "p_value", "score", "row", descending=[False, True, False], nulls_last=True
    )
    return (
        loudest_first.group_by("group", maintain_order=True)
        .agg(
            pl.col(*keys).first(),
            pl.col("first_time").min(),
            pl.col("last_time").max(),
            pl.len().cast(pl.UInt32).alias("flows"),
            pl.col("score", "p_value", "row").first(),
        )
        .drop("group")
    )
