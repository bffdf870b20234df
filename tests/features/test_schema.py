"""The feature schema is frozen: shots that were taught with it are held against its fingerprint."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from kshot.features import FEATURE_COLUMNS, columns_for_tier, encode_to_tier, fingerprint
from kshot.records.columns import Tier

FROZEN = "7c22dd95e8065e3a"
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
    assert {"service", "dns_name_bytes", "http_method"} < middle - poor
    assert "printable_share_from_orig" in rich - middle


def test_encoding_to_a_tier_keeps_its_columns_in_order() -> None:
    shots = pl.DataFrame({"tls_answer": ["alert"], "flow_seconds": [1.0], "mine": [1], "orig_out_degree": [2.0]})
    assert encode_to_tier(shots, Tier.PACKETS).columns == ["tls_answer", "flow_seconds", "orig_out_degree"]
    assert encode_to_tier(shots, Tier.NETFLOW).columns == ["flow_seconds", "orig_out_degree"]


def test_a_service_that_logs_cannot_name_is_unknown_to_them() -> None:
    columns = {
        name: next(c.dtype for c in FEATURE_COLUMNS if c.name == name) for name in ("service", "port_fits_service")
    }
    shots = pl.DataFrame({"service": ["adb", "dns"], "port_fits_service": ["yes", "yes"]}, schema=columns)
    assert encode_to_tier(shots, Tier.ZEEK).rows() == [("unknown", None), ("dns", "yes")]
    assert encode_to_tier(shots, Tier.PACKETS).rows() == shots.rows()
