"""Looks at open flows: what they are by now, once they fall silent; the flows themselves go on."""

from __future__ import annotations

import polars as pl
import pytest
from frame_builders import ACK, FIN, RST, SYN, batch, conversation, ethernet, ip, tcp, udp

from kshot.flows import FlowMeter

pytestmark = pytest.mark.kernel
MILLISECOND = 1_000_000


def ports(frame: pl.DataFrame) -> list[int]:
    return frame["orig_port"].to_list()


def test_a_flow_is_looked_at_when_it_falls_silent_and_only_then() -> None:
    meter = FlowMeter()
    question = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, b"hello")))
    meter.push(batch([question, *conversation(("o", SYN), ("r", SYN | ACK), ("o", ACK))]))
    assert meter.look().height == 0
    meter.advance(400 * MILLISECOND)
    assert meter.look().height == 0
    meter.advance(200 * MILLISECOND)
    looked = meter.look()
    assert ports(looked) == [1000, 40000]
    assert looked["orig_packets"].to_list() == [1, 2] and looked["resp_packets"].to_list() == [0, 1]
    assert looked["orig_payload"].to_list()[0] == b"hello"
    assert meter.look().height == 0 and meter.counters.flows == 0 and meter.pending == 0
    ended = pl.concat(list(meter.finish()))
    assert ended.drop("end_reason").sort("last_time").equals(looked.drop("end_reason"))


def test_what_tcp_has_closed_is_looked_at_sooner() -> None:
    meter = FlowMeter()
    meter.push(batch(conversation(("o", SYN), ("r", RST | ACK), port=1)))
    meter.push(batch(conversation(("o", SYN), ("r", SYN | ACK), ("o", FIN | ACK), ("r", FIN | ACK), port=2)))
    meter.push(batch(conversation(("o", SYN), ("r", SYN | ACK), port=3)))
    meter.advance(150 * MILLISECOND)
    looked = meter.look()
    assert sorted(ports(looked)) == [1, 2]
    assert dict(zip(ports(looked), looked["conn_state"], strict=True)) == {1: "REJ", 2: "SF"}


def test_a_flow_that_never_falls_silent_is_looked_at_by_age() -> None:
    meter = FlowMeter(active_timeout_seconds=7_200.0)
    packet = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, b"more")))
    seen = []
    for tenth in range(7_000):
        meter.push(batch([packet], times=[0.1 * tenth]))
        seen += [(tenth // 10, packets) for packets in meter.look()["orig_packets"]]
    assert seen == [(10, 101), (60, 601), (600, 6_001)]
    assert [frame["orig_packets"].to_list() for frame in meter.finish()] == [[7_000]]


def test_looks_take_nothing_from_what_has_ended() -> None:
    def frames() -> list[bytes]:
        return [
            ethernet(ip("10.0.0.1", "10.0.0.2", 6, tcp(1 + i % 3_000, 80, SYN if i < 3_000 else ACK)))
            for i in range(9_000)
        ]

    def flows(*, look: bool) -> pl.DataFrame:
        meter = FlowMeter(idle_timeout_seconds=2.0, memory_bytes=2**22)
        ended = []
        for first in range(0, 9_000, 500):
            meter.push(batch(frames()[first : first + 500], times=[(first + i) * 0.002 for i in range(500)]))
            if look:
                meter.look()
            ended += list(meter.drain(1))
        return pl.concat([*ended, *meter.finish()]).sort("orig_port", "first_time")

    assert flows(look=True).equals(flows(look=False))
    assert flows(look=True).height > 3_000


def test_a_look_is_bounded_and_the_rest_ends_as_ever() -> None:
    meter = FlowMeter(memory_bytes=2**26)
    lone = [ethernet(ip("10.0.0.1", "10.0.0.2", 6, tcp(port, 80, SYN))) for port in range(1, 20_001)]
    meter.push(batch(lone, times=[0.00001 * i for i in range(20_000)]))
    meter.advance(1_000 * MILLISECOND)
    looked = meter.look()
    assert 0 < looked.height <= 4_096
    assert sum(frame.height for frame in meter.finish()) == 20_000
