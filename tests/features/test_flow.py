"""What a flow tells by itself."""

from __future__ import annotations

import pytest
from flow_rows import flow, flows, unanswered

from kshot.features import FeatureExtractor
from kshot.records.columns import Tier
from kshot.records.flows import FLOW_COLUMNS

pytestmark = pytest.mark.kernel


def _row(**values: object) -> dict[str, object]:
    return FeatureExtractor().transform(flows(flow(**values))).row(0, named=True)  # type: ignore[arg-type]


def test_counters_shares_and_rates() -> None:
    row = _row(duration_seconds=2.0)
    assert (row["transport"], row["connection_state"], row["is_answered"]) == ("tcp", "SF", True)
    assert (row["ip_bytes_from_orig"], row["ip_bytes_from_resp"]) == (150 + 5 * 40, 500 + 4 * 40)
    assert row["packet_share_from_orig"] == pytest.approx(5 / 9)
    assert row["packets_per_second"] == 4.5
    assert row["payload_share_from_orig"] == pytest.approx(150 / 650)
    assert row["ack_share_from_orig"] == pytest.approx(0.8)
    assert row["syn_packets_from_resp"] == 1


def test_what_cannot_be_divided_is_missing() -> None:
    row = FeatureExtractor().transform(flows(unanswered(0))).row(0, named=True)
    for name in ("packets_per_second", "payload_share_from_orig", "ip_bytes_per_packet_from_resp", "gap_max_from_orig"):
        assert row[name] is None, name
    assert row["is_answered"] is False


def test_ipv6_has_the_longer_header_and_udp_no_flags() -> None:
    row = _row(originator="2001:db8::1", protocol=17)
    assert row["ip_bytes_from_orig"] == 150 + 5 * 48
    assert (row["transport"], row["syn_packets_from_orig"], row["ack_share_from_orig"]) == ("udp", None, None)


def test_netflow_counts_its_own_bytes() -> None:
    poor = flows(flow()).select(column.name for column in FLOW_COLUMNS if column.tier <= Tier.NETFLOW)
    assert FeatureExtractor().transform(poor)["ip_bytes_from_resp"].item() == 800
