"""The meter as a whole: timeouts, ends, slices, counts; packets conserved whatever the batch."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from frame_builders import (
    ACK,
    FIN,
    PSH,
    RST,
    START,
    SYN,
    conversation,
    drained,
    ethernet,
    icmp,
    ip,
    metered,
    tcp,
    udp,
)
from frame_builders import batch as frames
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kshot.errors import InternalError, UserError
from kshot.flows import FlowMeter
from kshot.records.columns import check_frame
from kshot.records.flows import FLOW_COLUMNS, FLOW_SCHEMA

HANDSHAKE = (("o", SYN), ("r", SYN | ACK), ("o", ACK))
GOODBYE = (("o", FIN | ACK), ("r", FIN | ACK), ("o", ACK))
SORTED = ["originator", "responder", "orig_port", "resp_port", "protocol", "vlan", "first_time", "slice"]


def datagram(port: int, payload: bytes = b"x", *, back: bool = False) -> bytes:
    if back:
        return ethernet(ip("10.0.0.2", "10.0.0.1", 17, udp(53, port, payload)))
    return ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(port, 53, payload)))


@pytest.mark.kernel
def test_golden_conversation() -> None:
    here, there = "10.0.0.1", "10.0.0.2"
    packets = [
        ip(here, there, 6, tcp(40000, 80, SYN, window=64000), ttl=64),
        ip(there, here, 6, tcp(80, 40000, SYN | ACK, window=65000), ttl=50),
        ip(here, there, 6, tcp(40000, 80, ACK, window=500), ttl=64),
        ip(here, there, 6, tcp(40000, 80, PSH | ACK, b"GET / HTTP/1.1\r\n", window=700), ttl=64),
        ip(there, here, 6, tcp(80, 40000, ACK, b"A" * 100, window=200), ttl=50),
        ip(here, there, 6, tcp(40000, 80, FIN | ACK, window=700), ttl=64),
        ip(there, here, 6, tcp(80, 40000, FIN | ACK, window=200), ttl=50),
        ip(here, there, 6, tcp(40000, 80, ACK, window=700), ttl=64),
    ]
    times = [0.0, 0.5, 1.0, 1.5, 3.5, 4.0, 4.25, 4.5]
    flows = metered(frames([ethernet(packet) for packet in packets], times=times))
    check_frame(flows, FLOW_COLUMNS, "flows")
    assert list(flows.columns) == list(FLOW_SCHEMA)
    flow = flows.row(0, named=True)
    assert flow["first_time"].timestamp() == START / 1e9
    assert flow["duration_seconds"] == 4.5
    sent = [54, 54, 70, 54, 54]
    expected = {
        "originator": here, "responder": there, "orig_port": 40000, "resp_port": 80, "protocol": 6, "vlan": 0,
        "tunnel": "none", "conn_state": "SF", "end_reason": "fin", "slice": 0,
        "orig_packets": 5, "resp_packets": 3, "orig_wire_bytes": sum(sent), "resp_wire_bytes": 54 * 2 + 154,
        "orig_bytes": 16, "resp_bytes": 100,
        "orig_size_min_bytes": 54, "orig_size_max_bytes": 70, "resp_size_max_bytes": 154,
        "orig_gap_min_seconds": 0.5, "orig_gap_max_seconds": 2.5, "resp_gap_min_seconds": 0.75,
        "orig_syn_packets": 1, "resp_syn_packets": 1, "orig_ack_packets": 4, "orig_fin_packets": 1,
        "orig_psh_packets": 1, "resp_psh_packets": 0,
        "orig_window_first_bytes": 64000, "orig_window_max_bytes": 64000, "resp_window_first_bytes": 65000,
        "orig_ttl": 64, "resp_ttl": 50,
        "packet_sizes_bytes": [54, -54, 54, 70, -154, 54, -54, 54],
        "packet_gaps_seconds": [0.0, 0.5, 0.5, 0.5, 2.0, 0.5, 0.25, 0.25],
        "orig_payload": b"GET / HTTP/1.1\r\n", "resp_payload": b"A" * 64, "resp_entropy_bits": 0.0,
    }  # fmt: skip
    assert {name: flow[name] for name in expected} == expected
    assert flow["orig_size_mean_bytes"] == pytest.approx(np.mean(sent))
    assert flow["orig_size_std_bytes"] == pytest.approx(np.std(sent), rel=1e-5)
    gaps = [1.0, 0.5, 2.5, 0.5]
    assert flow["orig_gap_mean_seconds"] == pytest.approx(np.mean(gaps))
    assert flow["orig_gap_std_seconds"] == pytest.approx(np.std(gaps), rel=1e-6)
    shares = np.unique(list(b"GET / HTTP/1.1\r\n"), return_counts=True)[1] / 16
    assert flow["orig_entropy_bits"] == pytest.approx(-(shares * np.log2(shares)).sum(), rel=1e-6)


@pytest.mark.kernel
def test_one_packet_leaves_the_rest_null() -> None:
    flow = metered(frames([datagram(1000, b"")])).row(0, named=True)
    for name in (
        "resp_size_min_bytes",
        "orig_gap_mean_seconds",
        "resp_ttl",
        "orig_window_first_bytes",
        "orig_entropy_bits",
    ):
        assert flow[name] is None
    assert (flow["orig_payload"], flow["duration_seconds"], flow["packet_gaps_seconds"]) == (b"", 0.0, [0.0])


@pytest.mark.kernel
def test_idle_timeout_parts_flows_by_packet_time() -> None:
    times = [0, 119, 239, 359.5]
    flows = metered(frames([datagram(1000)] * 4, times=times)).sort("first_time")
    assert flows["orig_packets"].to_list() == [3, 1]
    assert flows["end_reason"].to_list() == ["idle", "end"]
    one = metered(frames([datagram(1000)] * 4, times=times), idle_timeout_seconds=200.0)
    assert one["orig_packets"].to_list() == [4]


@pytest.mark.kernel
def test_idle_flows_are_written_without_a_packet_of_theirs() -> None:
    meter = FlowMeter(memory_bytes=2**20)
    meter.push(frames([datagram(1000)]))
    meter.push(frames([datagram(2000)] * 300, times=[1.0 + i for i in range(300)]))
    early = pl.concat(meter.drain(1))
    assert early.select("orig_port", "end_reason").rows() == [(1000, "idle")]


@pytest.mark.kernel
def test_active_timeout_slices() -> None:
    packets = [datagram(1000, b"%d" % i, back=i % 2 == 1) for i in range(10)]
    flows = metered(frames(packets, times=[10.0 * i for i in range(10)]), active_timeout_seconds=30.0)
    flows = flows.sort("slice")
    assert flows["slice"].to_list() == [0, 1, 2, 3]
    assert flows["end_reason"].to_list() == ["active"] * 3 + ["end"]
    assert (flows["orig_packets"] + flows["resp_packets"]).to_list() == [3, 3, 3, 1]
    assert set(flows["originator"]) == {"10.0.0.1"}
    assert flows["packet_gaps_seconds"].list.first().to_list() == [0.0] * 4
    assert [text[:1] for text in flows["orig_payload"]] == [b"0", b"4", b"6", b""]
    sparse = metered(frames(packets[:2], times=[0, 100]), active_timeout_seconds=30.0).sort("slice")
    assert sparse["slice"].to_list() == [0, 1]


@pytest.mark.kernel
def test_stragglers_join_and_a_new_syn_opens() -> None:
    talk = conversation(*HANDSHAKE, *GOODBYE, ("r", ACK), ("o", RST))
    assert metered(frames(talk)).select("orig_packets", "resp_packets", "end_reason").rows() == [(5, 3, "fin")]
    again = metered(frames([*talk, *conversation(("o", SYN))])).sort("first_time")
    assert again.select("orig_packets", "conn_state").rows() == [(5, "SF"), (1, "S0")]
    times = [0.01 * i for i in range(6)]
    late = metered(frames(talk[:6] + talk[7:], times=[*times, 8.0])).sort("first_time")
    assert late["orig_packets"].to_list() == [4, 1]
    refused = conversation(("o", SYN), ("r", RST | ACK)) * 3
    assert metered(frames(refused))["conn_state"].to_list() == ["REJ"] * 3


@pytest.mark.kernel
@pytest.mark.parametrize("first", [("o", SYN), ("r", SYN | ACK)])
def test_a_handshake_settles_the_originator(first: tuple[str, int]) -> None:
    assert metered(frames(conversation(first)))["originator"].to_list() == ["10.0.0.1"]
    stray = [*conversation(("r", ACK)), *conversation(first)]
    assert metered(frames(stray))["originator"].to_list() == ["10.0.0.1"]
    mid_stream = conversation(("r", PSH | ACK), ("o", ACK), ("r", ACK))
    assert metered(frames(mid_stream))["originator"].to_list() == ["10.0.0.2"]


@pytest.mark.kernel
def test_an_echo_and_its_reply_are_one_flow_and_errors_are_not() -> None:
    here, there = "10.0.0.1", "10.0.0.2"
    echo = [ethernet(ip(here, there, 1, icmp(8))), ethernet(ip(there, here, 1, icmp(0)))]
    flows = metered(frames(echo))
    assert flows.select("orig_port", "resp_port", "orig_packets", "resp_packets").rows() == [(8, 0, 1, 1)]
    echo6 = [ethernet(ip("fd00::1", "fd00::2", 58, icmp(128))), ethernet(ip("fd00::2", "fd00::1", 58, icmp(129)))]
    assert metered(frames(echo6)).select("orig_port", "resp_port").rows() == [(128, 0)]
    errors = [ethernet(ip(here, there, 1, icmp(3, 3))), ethernet(ip(there, here, 1, icmp(3, 3)))]
    assert metered(frames(errors)).height == 2


@pytest.mark.kernel
def test_vlans_are_apart() -> None:
    packet = ip("10.0.0.1", "10.0.0.2", 17, udp(1, 2))
    flows = metered(
        frames([ethernet(packet, tags=[(0x8100, 1)]), ethernet(packet, tags=[(0x8100, 2)]), ethernet(packet)])
    )
    assert sorted(flows["vlan"]) == [0, 1, 2]


def test_time_may_jump_and_run_backwards() -> None:
    times = [5.0, 4.0, 3.0, 3.5]
    flows = metered(frames([datagram(1000)] * 4, times=times))
    assert flows["duration_seconds"].to_list() == [2.0]
    assert min(flows["packet_gaps_seconds"][0]) >= 0
    one = frames([datagram(1000)] * 3)
    for hostile in (-(2**63), 2**63 - 1, 0):
        moments = one.times_nanoseconds.copy()
        moments[1] = hostile
        batch = frames([datagram(1000), datagram(2000), datagram(1000)])
        batch.times_nanoseconds[:] = moments
        apart = metered(batch).sort("orig_port")
        # The other flow does not feel it.
        assert apart["orig_packets"].to_list() == [2, 1]


def test_stray_times_do_not_expire_other_flows() -> None:
    calm = [datagram(1000 + i % 50) for i in range(500)]
    when = [0.1 * i for i in range(500)]
    plain = metered(frames(calm, times=when))
    spliced, moments = [], []
    for i, (frame, moment) in enumerate(zip(calm, when, strict=True)):
        spliced.append(frame)
        moments.append(moment)
        if i % 20 == 7:
            spliced.append(datagram(60000 + i))
            moments.append(moment + 1e8 * (1 if i % 40 == 7 else -1))
    both = metered(frames(spliced, times=moments)).filter(pl.col("orig_port") < 60000)
    assert_frame_equal(plain.sort(SORTED), both.sort(SORTED))


SEGMENTS = st.lists(
    st.tuples(
        st.sampled_from(["o", "r"]),
        st.sampled_from([SYN, SYN | ACK, ACK, PSH | ACK, FIN | ACK, RST]),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.01, 1.0, 6.0, 70.0]),
        st.binary(max_size=40),
    ),
    max_size=60,
)


def traffic(segments: list[tuple[str, int, int, float, bytes]]) -> tuple[list[bytes], list[float]]:
    packets, times, now = [], [], 0.0
    for who, flags, host, pause, payload in segments:
        packets += conversation((who, flags), port=40000 + host, payload=payload)
        now += pause
        times.append(now)
    return packets, times


@settings(max_examples=60, deadline=None)
@given(segments=SEGMENTS, cuts=st.lists(st.integers(0, 60), max_size=5))
def test_batches_may_be_cut_anywhere(segments: list[tuple[str, int, int, float, bytes]], cuts: list[int]) -> None:
    packets, times = traffic(segments)
    whole = metered(frames(packets, times=times))
    edges = sorted({0, len(packets), *(min(cut, len(packets)) for cut in cuts)})
    parts = metered(*(frames(packets[a:b], times=times[a:b]) for a, b in pairwise(edges)))
    assert_frame_equal(whole, parts)
    if packets:
        assert whole.select(pl.sum("orig_packets") + pl.sum("resp_packets")).item() == len(packets)
        wire = whole.select(pl.sum("orig_wire_bytes") + pl.sum("resp_wire_bytes")).item()
        assert wire == sum(map(len, packets))
        payload = whole.select(pl.sum("orig_bytes") + pl.sum("resp_bytes")).item()
        assert payload == sum(len(text) for *_, text in segments)
        for side in ("orig", "resp"):
            assert (whole[f"{side}_payload"].bin.size() <= 64).all()
        kept = whole["packet_sizes_bytes"].list.len()
        assert (kept == pl.Series(np.minimum(32, whole["orig_packets"] + whole["resp_packets"]))).all()


@settings(max_examples=40, deadline=None)
@given(segments=SEGMENTS)
def test_directions_are_symmetric(segments: list[tuple[str, int, int, float, bytes]]) -> None:
    """The same talk between exchanged hosts differs in addresses and ports alone."""
    other = {"o": "r", "r": "o"}
    packets, times = traffic(segments)
    turned = []
    for who, flags, host, _, payload in segments:
        here, there = ("10.0.0.2", "10.0.0.1") if who == "o" else ("10.0.0.1", "10.0.0.2")
        ports = (40000 + host, 80) if who == "o" else (80, 40000 + host)
        turned.append(ethernet(ip(here, there, 6, tcp(*ports, flags, payload))))
    assert other[other["o"]] == "o"
    flows, mirrored = metered(frames(packets, times=times)), metered(frames(turned, times=times))
    if packets:
        hosts = ["originator", "responder", "community_id"]
        assert_frame_equal(flows.drop(hosts), mirrored.drop(hosts))
        assert flows["originator"].to_list() == mirrored["responder"].to_list()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_gap_deviation_is_that_of_numpy(data: st.DataObject) -> None:
    pauses = data.draw(st.lists(st.integers(1, 10**9), min_size=2, max_size=40))
    times = np.concatenate([[0], np.cumsum(pauses)]) / 1e9
    flow = metered(frames([datagram(1000)] * len(times), times=list(times))).row(0, named=True)
    gaps = np.diff(np.round(times * 1e9)) / 1e9
    assert flow["orig_gap_mean_seconds"] == pytest.approx(gaps.mean(), rel=1e-6)
    assert flow["orig_gap_std_seconds"] == pytest.approx(gaps.std(), rel=1e-5, abs=1e-9)


def test_a_beacons_jitter_survives() -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(60 + rng.normal(0, 1e-5, 400))
    flow = metered(frames([datagram(1000)] * 400, times=list(times)), active_timeout_seconds=1e6).row(0, named=True)
    gaps = np.diff(np.round(times * 1e9)) / 1e9
    assert flow["orig_gap_std_seconds"] == pytest.approx(gaps.std(), rel=1e-3)


def test_settings_that_make_no_sense_are_the_users_fault() -> None:
    for wrong in (
        {"idle_timeout_seconds": 0.0},
        {"idle_timeout_seconds": math.nan},
        {"active_timeout_seconds": -1.0},
        {"active_timeout_seconds": math.inf},
        {"memory_bytes": 10},
    ):
        meter = FlowMeter(**wrong)  # type: ignore[arg-type]
        with pytest.raises(UserError, match=next(iter(wrong))):
            meter.push(frames([datagram(1)]))


def test_a_batch_outside_its_buffer_is_refused() -> None:
    meter = FlowMeter(memory_bytes=2**20)
    batch = frames([datagram(1)])
    batch.captured_bytes[0] = 10_000
    with pytest.raises(InternalError):
        meter.push(batch)


def test_read_only_and_odd_arrays_are_taken() -> None:
    batch = frames([datagram(1), datagram(2), datagram(3)])
    batch.buffer.flags.writeable = False
    assert drained(FlowMeter(memory_bytes=2**20), [batch]).height == 3


def test_nothing_pushed_gives_nothing() -> None:
    meter = FlowMeter(memory_bytes=2**20)
    assert meter.counters.packets_read == 0 and list(meter.drain()) == [] and list(meter.finish()) == []
    meter.push(frames([]))
    assert meter.pending == 0
    meter.push(frames([datagram(1)]))
    assert [frame.height for frame in meter.finish()] == [1]
    meter.push(frames([datagram(1)]))
    assert [frame.height for frame in meter.finish()] == [1]
