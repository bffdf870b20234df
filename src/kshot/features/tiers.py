"""Tiers: what a poorer input can carry of the features, and which tier a flow frame is of."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from kshot.errors import InternalError
from kshot.features.graph import GRAPH_COLUMNS
from kshot.features.log_facts import SERVICES_OF_LOGS
from kshot.features.schema import FEATURE_COLUMNS, NEEDED
from kshot.features.services import SERVICES
from kshot.records.columns import Tier

_NAMELESS = [name for name, named in zip(SERVICES, SERVICES_OF_LOGS, strict=True) if not named]


def columns_for_tier(tier: Tier) -> tuple[str, ...]:
    """Name the features that an input of `tier` can fill, in their order."""
    return tuple(column.name for column in FEATURE_COLUMNS if column.tier <= tier)


def encode_to_tier(features: pl.DataFrame, tier: Tier) -> pl.DataFrame:
    """Keep what an input of `tier` can tell of `features`, so that a threat's shots fit poorer inputs.

    Columns that it cannot fill go; a service that logs have no name for is "unknown" there.
    """
    carried = {*columns_for_tier(tier), *(column.name for column in GRAPH_COLUMNS if column.tier <= tier)}
    kept = features.select(name for name in features.columns if name in carried)
    if tier != Tier.ZEEK or "service" not in kept.columns:
        return kept
    nameless = pl.col("service").cast(pl.String).is_in(_NAMELESS)
    unknown = pl.lit("unknown", kept.schema["service"])
    changed = [pl.when(nameless).then(unknown).otherwise("service").alias("service")]
    if "port_fits_service" in kept.columns:
        changed.append(pl.when(~nameless).then("port_fits_service").alias("port_fits_service"))
    return kept.with_columns(changed)


def tier_of_flows(flows: pl.DataFrame) -> Tier:
    """Return the richest tier whose features `flows` can fill.

    Raises:
        InternalError: not even the columns of the poorest tier are there.
    """
    present = set(flows.columns)
    missing = [name for name in NEEDED[Tier.NETFLOW] if name not in present]
    if missing:
        raise InternalError(f"flow frame: column {missing[0]} is missing; every flow source fills it")
    richest = Tier.NETFLOW
    for tier in (Tier.ZEEK, Tier.PACKETS):
        if not present.issuperset(NEEDED[tier]):
            break
        richest = tier
    return richest


def tier_of_features(names: Iterable[str]) -> Tier:
    """Return the richest tier all of whose features are among `names`.

    >>> tier_of_features(columns_for_tier(Tier.ZEEK)).name
    'ZEEK'
    """
    present = set(names)
    return max((tier for tier in Tier if present.issuperset(columns_for_tier(tier))), default=Tier.NETFLOW)
