"""Who spoke to whom, and when: found in a table by the names that exporters give these columns."""

from __future__ import annotations

import polars as pl

ORIGINATOR_NAMES = (
    "originator",
    "id.orig_h",
    "src_ip",
    "srcip",
    "source_ip",
    "src ip",
    "ipv4_src_addr",
    "srcaddr",
    "sa",
    "client_ip",
    "saddr",
    "source.ip",
    "src_addr",
)
RESPONDER_NAMES = (
    "responder",
    "id.resp_h",
    "dst_ip",
    "dstip",
    "dest_ip",
    "destination_ip",
    "dst ip",
    "ipv4_dst_addr",
    "dstaddr",
    "da",
    "server_ip",
    "daddr",
    "destination.ip",
    "dst_addr",
)
FIRST_NAMES = (
    "first_time",
    "ts",
    "timestamp",
    "start_time",
    "starttime",
    "time",
    "@timestamp",
    "flow_start",
    "date",
    "datetime",
)
LAST_NAMES = ("last_time", "end_time", "lasttime", "flow_end")
_SECONDS_BELOW = (4e9, 4e12, 4e15)
"""An epoch below the first is in seconds, then milliseconds, microseconds; beyond, nanoseconds."""
_TIME = pl.Datetime("ns", "UTC")


def parties(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `originator`, `responder`, `first_time`, `last_time` a row; a column that the frame lacks is all null.

    >>> parties(pl.DataFrame({"src_ip": ["10.0.0.1"], "ts": [0]})).row(0)[:2]
    ('10.0.0.1', None)
    """
    first = _time(_find(frame, FIRST_NAMES), frame.height)
    last = _time(_find(frame, LAST_NAMES), frame.height)
    return pl.DataFrame(
        {
            "originator": _address(_find(frame, ORIGINATOR_NAMES), frame.height),
            "responder": _address(_find(frame, RESPONDER_NAMES), frame.height),
            "first_time": first,
            "last_time": pl.select(pl.coalesce(last, first)).to_series(),
        }
    )


def _find(frame: pl.DataFrame, names: tuple[str, ...]) -> pl.Series | None:
    by_lower = {column.lower(): column for column in reversed(frame.columns)}
    return next((frame[by_lower[name]] for name in names if name in by_lower), None)


def _address(found: pl.Series | None, height: int) -> pl.Series:
    if found is None or found.dtype.is_nested() or found.dtype == pl.Binary:
        return pl.Series([None] * height, dtype=pl.String)
    return found.cast(pl.String, strict=False)


def _time(found: pl.Series | None, height: int) -> pl.Series:
    nothing = pl.Series([None] * height, dtype=_TIME)
    if found is None:
        return nothing
    if found.dtype == pl.Date:
        return found.cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    if isinstance(found.dtype, pl.Datetime):
        times = found.cast(pl.Datetime("ns", found.dtype.time_zone))
        return times.dt.convert_time_zone("UTC") if found.dtype.time_zone else times.dt.replace_time_zone("UTC")
    if found.dtype == pl.String:
        return _from_text(found)
    if not found.dtype.is_numeric():
        return nothing
    numbers = found.cast(pl.Float64).fill_nan(None)
    greatest = numbers.abs().max()
    if greatest is None:
        return nothing
    factor = next((10 ** (9 - 3 * i) for i, limit in enumerate(_SECONDS_BELOW) if float(str(greatest)) < limit), 1)
    if found.dtype.is_integer():
        nanoseconds = found.cast(pl.Int64) * factor
    else:
        # A double holds today's epoch to 0.2 microseconds: the fraction is taken apart first, and rounded there.
        whole = numbers.floor()
        nanoseconds = whole.cast(pl.Int64, strict=False) * factor
        nanoseconds += ((numbers - whole) * factor / 1e3).round().cast(pl.Int64, strict=False) * 1_000
    return nanoseconds.cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")


def _from_text(found: pl.Series) -> pl.Series:
    """ISO 8601, with or without a zone (then UTC); what is not stays null."""
    text = found.str.strip_chars().str.replace(" ", "T").str.replace("Z$", "+00:00")
    zoned = text.str.contains(r"T.*[+-]\d{2}:?\d{2}$")
    with_zone = pl.when(zoned).then(text).otherwise(text + "+00:00")
    for pattern in ("%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M:%S%.f%z"):
        times = pl.select(with_zone).to_series().str.to_datetime(pattern, time_unit="ns", strict=False)
        if times.null_count() < times.len():
            return times.dt.convert_time_zone("UTC")
    return pl.Series([None] * found.len(), dtype=_TIME)
