"""Scans, brute force, floods and beacons show in the columns meant for them."""

from __future__ import annotations

import pytest
from flow_rows import flow, flows, unanswered

from kshot.features import FeatureExtractor
from kshot.features.memory import RECENT

pytestmark = pytest.mark.kernel


def test_a_port_scan_shows_ports_of_one_pair() -> None:
    scan = FeatureExtractor().transform(flows(*(unanswered(k * 0.01, resp_port=1000 + k) for k in range(9))))
    last = scan.row(-1, named=True)
    assert last["orig_ports_100"] == last["orig_ports_10s"] == last["orig_same_pair_ports_100"] == 8
    assert last["orig_peers_100"] == last["orig_port_share_100"] == last["orig_unanswered_share_100"] == 1
    assert last["orig_same_port_share_100"] == last["orig_rejected_share_100"] == 0
    assert last["orig_flows_2s"] == 8
    assert last["orig_rate_100"] == pytest.approx(8 / 0.08)
    assert last["port_is_new_on_responder"] is True
    assert last["peer_is_new"] is False


def test_a_sweep_shows_peers_on_one_port() -> None:
    sweep = flows(*(flow(k, responder=f"10.0.2.{k}", resp_port=445, conn_state="REJ") for k in range(20)))
    last = FeatureExtractor().transform(sweep).row(-1, named=True)
    assert last["orig_same_port_peers_100"] == last["orig_peers_100"] == 19
    assert last["orig_peers_10s"] == 10
    assert last["orig_ports_100"] == last["orig_same_port_share_100"] == last["orig_rejected_share_100"] == 1
    assert last["orig_same_pair_ports_100"] == 0
    assert last["peer_is_new"] is True
    assert last["resp_peers_100"] is None


def test_brute_force_shows_one_pair_again_and_again_of_one_size() -> None:
    tries = flows(*(flow(0.5 * k, resp_port=22, orig_bytes=900 + k % 2) for k in range(12)))
    last = FeatureExtractor().transform(tries).row(-1, named=True)
    assert last["pair_flows"] == 11
    assert last["orig_same_peer_share_100"] == last["resp_same_port_share_100"] == 1
    assert last["pair_bytes_variation_from_orig"] < 0.01
    assert last["resp_flows_2s"] == 4
    assert last["orig_unanswered_share_100"] == 0


def test_a_flood_shows_many_originators_of_one_responder() -> None:
    flood = flows(*(unanswered(k * 0.001, originator=f"203.0.{k}.9") for k in range(150)))
    last = FeatureExtractor().transform(flood).row(-1, named=True)
    assert last["resp_peers_100"] == last["resp_flows_2s"] == RECENT
    assert last["resp_peer_share_100"] == last["resp_unanswered_share_100"] == 1
    assert last["orig_peers_100"] is None


def test_a_beacon_keeps_its_rhythm_and_a_person_does_not() -> None:
    beacon = [flow(60 * k + 0.1 * (k % 3), responder="198.51.100.7", resp_port=443) for k in range(15)]
    person = [flow(s, originator="10.0.0.2", resp_port=443) for s in (1, 3, 4, 90, 95, 300, 301, 302, 700)]
    rows = sorted([*beacon, *person], key=lambda row: row["first_time"])
    features = FeatureExtractor().transform(flows(*rows))
    by_end = {row["originator"]: features.row(at, named=True) for at, row in enumerate(rows)}
    steady, loose = by_end["10.0.0.1"], by_end["10.0.0.2"]
    assert steady["pair_gap_median_seconds"] == pytest.approx(60, abs=0.2)
    assert steady["pair_gap_variation"] < 0.01
    assert steady["pair_gap_spread"] < 0.01
    assert steady["pair_span_seconds"] == pytest.approx(720, abs=1)
    assert loose["pair_gap_variation"] > 1
    assert loose["pair_gap_spread"] > 0.4


def test_warm_up_is_missing_not_zero() -> None:
    features = FeatureExtractor().transform(flows(*(flow(k * 40) for k in range(5))))
    assert features["orig_peers_100"].is_null().to_list() == [True, True, True, False, False]
    assert features["orig_flows_10s"].to_list() == [None, 0, 0, 0, 0]
    assert features["orig_flows_60s"].to_list() == [None, None, 1, 1, 1]
    assert features["pair_gap_seconds"].to_list() == [None, 40, 40, 40, 40]
    assert features["pair_gap_median_seconds"].is_null().to_list() == [True, True, True, False, False]
    assert features["peer_is_new"].to_list() == [None, False, False, False, False]
    assert features["port_rarity_bits"].null_count() == features["responder_is_new"].null_count() == 5


def test_later_slices_of_a_long_flow_are_no_new_connections() -> None:
    slices = [flow(0, originator="10.9.9.9"), *(flow(60 * k, slice=k, end_reason="active") for k in range(6))]
    features = FeatureExtractor().transform(flows(*slices, flow(400)))
    assert features["pair_flows"].to_list() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_rarity_is_of_the_network_so_far() -> None:
    rows = [flow(k, originator=f"10.0.0.{k}") for k in range(60)]
    features = FeatureExtractor().transform(flows(*rows, flow(61, resp_port=4444), flow(62)))
    rare, usual = features["port_rarity_bits"][-2], features["port_rarity_bits"][-1]
    assert rare == pytest.approx(5.93, abs=0.01)
    assert usual == pytest.approx(0.02, abs=0.02)
    assert features["port_is_new_on_responder"][-2] is True
    assert features["responder_is_new"][-1] is False


def test_who_was_called_before_calls_back() -> None:
    back = flow(5, originator="10.0.1.1", responder="10.0.0.1", resp_port=4444)
    features = FeatureExtractor().transform(flows(flow(0), back, flow(9, responder="10.0.1.2")))
    assert features["was_called_back"].to_list() == [False, True, False]
