"""The meter's clock: a pause in the capture ends what is over and splits nothing that goes on."""

from __future__ import annotations

import struct

import numpy as np
import polars as pl
import pytest

from kshot.flows import FlowMeter
from kshot.records.frames import FrameBatch

pytestmark = pytest.mark.kernel
SECOND = 1_000_000_000


def segment(port: int) -> bytes:
    """A TCP segment with ACK from 10.0.0.1 to 10.0.0.2, port 80."""
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 6, 0, 0x0A000001, 0x0A000002)
    return bytes(12) + b"\x08\0" + head + struct.pack(">HHIIBBHHH", port, 80, 1, 0, 0x50, 0x10, 100, 0, 0)


def batch_of(packets: list[tuple[int, float]]) -> FrameBatch:
    """Segments of (port, seconds)."""
    frames = [segment(port) for port, _ in packets]
    sizes = np.array([len(frame) for frame in frames], np.int32)
    times = np.array([int(seconds * SECOND) for _, seconds in packets], np.int64)
    buffer = np.frombuffer(b"".join(frames), np.uint8)
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    return FrameBatch(buffer, offsets, sizes, sizes, times, np.ones(len(frames), np.int32))


def flows_of(packets: list[tuple[int, float]]) -> pl.DataFrame:
    """Meter segments of (port, seconds)."""
    meter = FlowMeter()
    meter.push(batch_of(packets))
    return pl.concat(list(meter.finish()))


@pytest.mark.parametrize("pause_seconds", [3.0, 10.0, 130.0, 300.0, 86_400.0])
@pytest.mark.parametrize("spacing_seconds", [0.01, 0.5, 7.0])
def test_flows_after_a_pause_are_not_split(pause_seconds: float, spacing_seconds: float) -> None:
    before = [(1000, 100.0 + i * 0.01) for i in range(20)]
    ports = 30 if spacing_seconds < 1 else 12  # so that no gap within a flow reaches the idle timeout
    after = [(2000 + i % ports, 101.0 + pause_seconds + i * spacing_seconds) for i in range(8 * ports)]
    flows = flows_of(before + after).sort("orig_port")
    assert flows["orig_port"].to_list() == [1000, *range(2000, 2000 + ports)]
    assert flows["orig_packets"].to_list() == [20] + [8] * ports


def test_a_stray_time_ends_nothing() -> None:
    steady = [(1000, 100.0 + i * 0.1) for i in range(100)]
    stray = [(3000, 4_000_000_000.0)]
    flows = flows_of(steady[:50] + stray + steady[50:])
    assert flows.filter(pl.col("orig_port") == 1000)["orig_packets"].to_list() == [100]


def test_a_silent_flow_ends_without_a_further_packet() -> None:
    meter = FlowMeter(idle_timeout_seconds=60.0)
    meter.advance(10 * SECOND)
    assert meter.pending == 0
    meter.push(batch_of([(1000, 100.0), (2000, 103.0), (2000, 104.0), (2000, 105.0), (3000, 109.0)]))
    ended = []
    for _ in range(100):
        meter.advance(SECOND)
        ended.append([flow for frame in meter.drain(1) for flow in frame["orig_port"]])
    # Each once, an idle timeout and the sweep's five seconds after its last packet, counted from the newest one.
    assert {second: ports for second, ports in enumerate(ended) if ports} == {56: [1000], 61: [2000], 65: [3000]}
    assert list(meter.finish()) == []


def test_more_flows_end_at_once_than_the_export_area_holds() -> None:
    meter = FlowMeter(memory_bytes=2**24)
    meter.push(batch_of([(port, 100.0 + port * 1e-5) for port in range(1, 20_001)]))
    meter.advance(200 * SECOND)
    assert meter.pending == 20_000
    assert sum(frame.height for frame in meter.drain(1)) == 20_000
    assert meter.counters.evicted == 0


@pytest.mark.parametrize("pause_seconds", [0.5, 30.0, 119.0])
def test_a_clock_that_went_on_splits_no_flow(pause_seconds: float) -> None:
    before, after = [(1000, 100.0)], [(1000, 100.0 + pause_seconds), (1000, 100.1 + pause_seconds)]
    meter = FlowMeter()
    meter.push(batch_of(before))
    for _ in range(10):
        meter.advance(int(pause_seconds * SECOND) // 10)
    meter.push(batch_of(after))
    live = pl.concat(list(meter.finish()))
    assert live.equals(flows_of(before + after))
