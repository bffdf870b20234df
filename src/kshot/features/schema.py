"""The feature schema: every column, what it is made of, and the fingerprint of them all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from kshot.features import behaviour, flow, payload, relations, sequence
from kshot.records.columns import Column, Tier

VERSION = 2
"""Raised when a feature changes its meaning without changing its name, type, unit or tier."""

FEATURE_COLUMNS: tuple[Column, ...] = (
    *flow.COLUMNS,
    *sequence.COLUMNS,
    *payload.COLUMNS,
    *behaviour.COLUMNS,
    *relations.COLUMNS,
)
"""Every feature, in the order of the feature frame."""

_IDENTITY = ("first_time", "originator", "responder", "orig_port", "resp_port", "protocol")
NEEDED: dict[Tier, frozenset[str]] = {
    Tier.NETFLOW: frozenset((*_IDENTITY, *flow.NEEDED[Tier.NETFLOW], "orig_wire_bytes", "resp_wire_bytes")),
    Tier.ZEEK: frozenset(flow.NEEDED[Tier.ZEEK]),
    Tier.PACKETS: frozenset((*flow.NEEDED[Tier.PACKETS], *sequence.NEEDED, *payload.NEEDED)),
}
"""Flow columns that each tier's features read, beyond those of the tiers below."""


def fingerprint(columns: Iterable[Column] = FEATURE_COLUMNS) -> str:
    """Return 16 hex digits that change with any name, type, unit, tier, order or meaning-version of `columns`."""
    lines = [f"{column.name}|{column.dtype}|{column.unit}|{int(column.tier)}" for column in columns]
    return hashlib.sha256("\n".join([f"kshot features {VERSION}", *lines]).encode()).hexdigest()[:16]
