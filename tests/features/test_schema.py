"""The feature schema is frozen: shots that were taught with it are held against its fingerprint."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from kshot.features import FEATURE_COLUMNS, columns_for_tier, encode_to_tier, fingerprint
from kshot.records.columns import Tier

FROZEN = "ff1a0cc5c566361f"
"""Change it together with kshot.features.schema.VERSION or a column, and say in the changelog that threats must be
taught again."""


def test_the_fingerprint_is_frozen() -> None:
    assert fingerprint() == FROZEN


def test_the_fingerprint_tells_every_change_that_matters() -> None:
    first, *rest = FEATURE_COLUMNS
    changed = [
        (replace(first, name="other"), *rest),
        (replace(first, dtype=pl.Int8()), *rest),
        (replace(first, unit="hours"), *rest),
        (replace(first, tier=Tier.PACKETS), *rest),
        (*rest, first),
        tuple(rest),
    ]
    assert len({fingerprint(), *(fingerprint(columns) for columns in changed)}) == 1 + len(changed)
    assert fingerprint((replace(first, meaning="said better"), *rest)) == fingerprint()


def test_tiers_lie_within_each_other() -> None:
    poor, middle, rich = (set(columns_for_tier(tier)) for tier in Tier)
    assert poor < middle < rich == {column.name for column in FEATURE_COLUMNS}
    assert "pair_gap_variation" in poor
    assert "payload_bytes_from_orig" in middle - poor
    assert "service" in rich - middle


def test_encoding_to_a_tier_keeps_its_columns_in_order() -> None:
    shots = pl.DataFrame({"service": ["dns"], "flow_seconds": [1.0], "mine": [1], "orig_out_degree": [2.0]})
    assert encode_to_tier(shots, Tier.PACKETS).columns == ["service", "flow_seconds", "orig_out_degree"]
    assert encode_to_tier(shots, Tier.NETFLOW).columns == ["flow_seconds", "orig_out_degree"]
