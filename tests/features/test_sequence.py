"""Payload sizes, turns and pauses of a flow's first packets."""

from __future__ import annotations

from typing import Any

import pytest
from flow_rows import flow, flows, udp

from kshot.features import FeatureExtractor

pytestmark = pytest.mark.kernel


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return FeatureExtractor().transform(flows(row)).row(0, named=True)


def test_payload_is_told_from_headers_acknowledgements_and_padding() -> None:
    sizes = [74, -74, 66, 166, -66, -566, -366, 66, 66, -60]
    packets = dict(orig_packets=5, resp_packets=5, orig_bytes=100, resp_bytes=800, resp_wire_bytes=1132)
    row = _row(flow(packet_sizes_bytes=sizes, packet_gaps_seconds=[0.1] * 10, orig_wire_bytes=438, **packets))
    assert [row[f"data_{k}_bytes"] for k in (1, 2, 3, 4)] == [100, -500, -300, None]
    assert (row["data_packets"], row["data_turns"], row["data_longest_run"]) == (3, 1, 2)
    assert (row["payload_max_from_orig"], row["payload_max_from_resp"]) == (100, 500)
    assert row["first_answer_seconds"] == pytest.approx(0.1)
    assert row["first_data_seconds"] == pytest.approx(0.3)
    assert row["data_2_pause_seconds"] == pytest.approx(0.2)
    assert row["speaks_first"] == "orig"


def test_datagrams_are_exact() -> None:
    sizes, gaps = [62, -142, 62, -142, 52], [0.0, 0.5, 2.0, 0.5, 2.0]
    counts = dict(orig_packets=3, resp_packets=2, orig_bytes=50, resp_bytes=200, orig_wire_bytes=176)
    row = _row(udp(0, b"x" * 20, packet_sizes_bytes=sizes, packet_gaps_seconds=gaps, resp_wire_bytes=284, **counts))
    assert [row[f"data_{k}_bytes"] for k in range(1, 7)] == [20, -100, 20, -100, 10, None]
    assert (row["data_turns"], row["bursts"]) == (4, 3)
    assert row["data_distinct_share"] == pytest.approx(3 / 5)
    assert row["data_pause_variation"] == pytest.approx(0.6)


def test_a_server_that_speaks_first() -> None:
    row = _row(flow(packet_sizes_bytes=[74, -74, 66, -566, 216], orig_wire_bytes=356, orig_packets=3))
    assert row["speaks_first"] == "resp"


def test_no_payload_no_sizes() -> None:
    row = _row(flow(orig_bytes=0, resp_bytes=0))
    assert (row["data_1_bytes"], row["speaks_first"], row["first_data_seconds"]) == (None, None, None)
    assert (row["data_packets"], row["payload_max_from_orig"]) == (0, 0)


def test_a_flow_without_its_packets_says_nothing_of_them() -> None:
    row = _row(flow(packet_sizes_bytes=None, packet_gaps_seconds=None))
    assert row["data_packets"] is None
    row = _row(flow(packet_gaps_seconds=[0.0]))
    assert row["first_answer_seconds"] == 0
