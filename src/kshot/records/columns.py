"""How a bulk frame's columns are declared: name, type, unit, meaning, poorest input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import polars as pl

from kshot.errors import InternalError


class Tier(IntEnum):
    """What an input can tell of a flow; each tier holds all that the ones below it hold."""

    NETFLOW = 1
    """Counters of a NetFlow v5/v9 exporter: 5-tuple, times, packets and bytes a direction, TCP flags seen."""
    ZEEK = 2
    """A Zeek conn.log or a Suricata flow record: also payload bytes, connection state, service."""
    PACKETS = 3
    """The packets themselves: sizes, gaps, flag counts, windows, first payload bytes."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a bulk frame."""

    name: str
    dtype: pl.DataType
    unit: str
    """The unit of a number ("bytes", "seconds", "packets", "bits", "1" for a count or ratio), "" for the rest."""
    meaning: str
    """One line for the user."""
    tier: Tier = Tier.NETFLOW
    """The poorest input that can fill it."""


def check_frame(frame: pl.DataFrame, columns: Iterable[Column], what: str) -> None:
    """Raise `InternalError` unless `frame` holds every one of `columns` with its type."""
    for column in columns:
        found = frame.schema.get(column.name)
        if found != column.dtype:
            raise InternalError(f"{what}: column {column.name} is {found}, not {column.dtype}")
