"""Tiers: what a poorer input can carry of the features, and which tier a flow frame is of."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from kshot.errors import InternalError
from kshot.features.graph import GRAPH_COLUMNS
from kshot.features.schema import FEATURE_COLUMNS, NEEDED
from kshot.records.columns import Tier


def columns_for_tier(tier: Tier) -> tuple[str, ...]:
    """Name the features that an input of `tier` can fill, in their order."""
    return tuple(column.name for column in FEATURE_COLUMNS if column.tier <= tier)


def encode_to_tier(features: pl.DataFrame, tier: Tier) -> pl.DataFrame:
    """Keep the columns of `features` that an input of `tier` can fill, so that a threat's shots fit poorer inputs."""
    carried = {*columns_for_tier(tier), *(column.name for column in GRAPH_COLUMNS if column.tier <= tier)}
    return features.select(name for name in features.columns if name in carried)


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
