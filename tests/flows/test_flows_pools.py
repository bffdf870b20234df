"""Memory: the cap holds, packets stay counted, a flood does not push out what matters."""

from __future__ import annotations

import resource
import time

import numpy as np
import polars as pl
import pytest
from frame_builders import ACK, SECOND, START, SYN, drained, ethernet, ip, metered, tcp, udp
from frame_builders import batch as frames

from kshot.flows import FlowMeter
from kshot.flows.pools import make_arena
from kshot.records.frames import FrameBatch


@pytest.mark.kernel
@pytest.mark.parametrize("memory", [2**20, 10**7, 192 * 2**20, 2**31])
def test_an_arena_stays_within_its_memory(memory: int) -> None:
    arena = make_arena(memory, idle_nanoseconds=1, active_nanoseconds=1, unwrap=True, seed=1)
    assert 0.5 * memory < arena.words.nbytes <= memory


def flood(n: int, *, seed: int = 5, over_seconds: float = 100.0) -> FrameBatch:
    """n SYNs, each a flow of its own."""
    rng = np.random.default_rng(seed)
    template = np.frombuffer(ethernet(ip("1.2.3.4", "10.40.0.1", 6, tcp(1, 80, SYN))), np.uint8)
    packets = np.tile(template, (n, 1))
    packets[:, 26:30] = rng.integers(1, 223, (n, 4))
    packets[:, 34:36] = rng.integers(0, 256, (n, 2))
    return FrameBatch(
        buffer=packets.ravel(),
        offsets=np.arange(n, dtype=np.int64) * len(template),
        captured_bytes=np.full(n, len(template), np.int32),
        wire_bytes=np.full(n, len(template), np.int32),
        times_nanoseconds=START + np.linspace(0, over_seconds * SECOND, n).astype(np.int64),
        link_types=np.ones(n, np.int32),
    )


def test_a_flood_evicts_one_packet_flows_and_spares_the_beacon() -> None:
    batch = flood(60_000)
    beat = [ethernet(ip("10.0.0.1", "10.9.9.9", 17, udp(5000, 53, b"beacon")))]
    meter = FlowMeter(memory_bytes=2**21)
    collected = []
    pushed = 0
    for i in range(20):
        meter.push(frames(beat, times=[5.0 * i]))
        part = slice(3000 * i, 3000 * (i + 1))
        meter.push(
            FrameBatch(
                batch.buffer,
                batch.offsets[part],
                batch.captured_bytes[part],
                batch.wire_bytes[part],
                batch.times_nanoseconds[part],
                batch.link_types[part],
            )
        )
        pushed += 3001
        collected.extend(meter.drain())
    collected.extend(meter.finish())
    flows = pl.concat(collected)
    # The first two beats are one- and two-packet flows like any other; the rest stays whole.
    beacon = flows.filter(pl.col("originator") == "10.0.0.1")
    assert beacon["orig_packets"].max() >= 17
    assert meter.counters.packets_read == meter.counters.metered == pushed
    assert flows.select(pl.sum("orig_packets") + pl.sum("resp_packets")).item() == pushed
    assert 0 < meter.counters.evicted == flows.filter(pl.col("end_reason") == "evicted").height
    assert flows.filter(pl.col("orig_packets") > 2)["end_reason"].to_list().count("evicted") == 0


def test_established_flows_outlive_a_flood_of_three_packet_flows() -> None:
    long = [ethernet(ip("10.0.0.1", "10.9.9.9", 17, udp(5000, 53, b"data"))) for _ in range(20)]
    short = [ethernet(ip("10.0.0.7", "10.9.9.9", 6, tcp(1024 + i // 3, 80, ACK))) for i in range(30_000)]
    times = [0.001 * i for i in range(20)] + [1 + 0.0001 * i for i in range(30_000)] + [5.0]
    meter = FlowMeter(memory_bytes=2**20)
    flows = drained(meter, [frames([*long, *short, long[0]], times=times)])
    assert flows.filter(pl.col("originator") == "10.0.0.1")["orig_packets"].to_list() == [21]
    assert meter.counters.evicted > 1000
    assert flows["orig_packets"].sum() == 30_021


def test_payload_blocks_run_out_without_harm() -> None:
    packets = []
    for i in range(12_000):
        packets.append(ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(i, 53, b"question"))))
        packets.append(ethernet(ip("10.0.0.2", "10.0.0.1", 17, udp(53, i, b"answer"))))
    flows = metered(frames(packets))
    assert flows.select(pl.sum("orig_packets") + pl.sum("resp_packets")).item() == 24_000
    assert flows.filter(pl.col("orig_payload") == b"question").height > 11_900


@pytest.mark.slow  # A million flows: the flood that the requirements name.
def test_a_million_syn_flows_stay_small_and_quick() -> None:
    meter = FlowMeter()
    batch = flood(1_000_000)
    meter.push(flood(10))
    list(meter.finish())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    rows = 0
    for i in range(0, 1_000_000, 8192):
        part = slice(i, i + 8192)
        meter.push(
            FrameBatch(
                batch.buffer,
                batch.offsets[part],
                batch.captured_bytes[part],
                batch.wire_bytes[part],
                batch.times_nanoseconds[part],
                batch.link_types[part],
            )
        )
        rows += sum(frame.height for frame in meter.drain())
    rows += sum(frame.height for frame in meter.finish())
    assert rows == 1_000_000
    assert time.process_time() - start < 20
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 320
