"""Why flows end, and how many, when memory is short: by packets and room, not the sweep."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from frame_builders import SECOND, START, SYN, drained, ethernet, ip, tcp, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.flows import FlowMeter
from kshot.flows.layout import C_SMALL_CAPACITY
from kshot.flows.pools import make_arena
from kshot.records.frames import FrameBatch

MEMORY = 2**20
IDLE_SECONDS = 20.0
SMALL = int(make_arena(MEMORY, idle_nanoseconds=1, active_nanoseconds=1, unwrap=True, seed=1).words[C_SMALL_CAPACITY])


def packets(ports: np.ndarray, seconds: np.ndarray, template: bytes) -> FrameBatch:
    """A packet from each port at each time, all else as in `template` (its UDP or TCP source port is at byte 34)."""
    n = len(ports)
    buffer = np.tile(np.frombuffer(template, np.uint8), (n, 1))
    buffer[:, 34], buffer[:, 35] = ports >> 8, ports & 255
    sizes = np.full(n, len(template), np.int32)
    times = START + np.round(seconds * SECOND).astype(np.int64)
    offsets = np.arange(n, dtype=np.int64) * len(template)
    return FrameBatch(buffer.ravel(), offsets, sizes, sizes, times, np.ones(n, np.int32))


def metered(ports: np.ndarray, seconds: np.ndarray, template: bytes) -> pl.DataFrame:
    meter = FlowMeter(memory_bytes=MEMORY, idle_timeout_seconds=IDLE_SECONDS)
    return drained(meter, [packets(ports, seconds, template)])


@pytest.mark.parametrize("more", [0, 1, 1000, 20_000])
def test_a_flood_evicts_the_oldest_as_far_as_there_is_no_room(more: int) -> None:
    n = SMALL + more
    template = ethernet(ip("10.0.0.1", "10.0.0.2", 6, tcp(1, 80, SYN)))
    flows = metered(np.arange(n), np.linspace(0, IDLE_SECONDS * 0.9, n), template).sort("orig_port")
    assert flows["orig_port"].to_list() == list(range(n))
    assert flows["end_reason"].to_list() == ["evicted"] * more + ["end"] * SMALL


def test_who_was_silent_too_long_is_not_evicted() -> None:
    # What came before is over but within the slack that the sweep leaves when so many come that room is wanted.
    template = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1, 53, b"")))
    first = np.linspace(0, 2, SMALL - 1)
    then = 2.0 + np.arange(1, 8) * 3.0
    ports = np.concatenate([np.arange(SMALL - 1), np.full(7, 60_000), np.arange(30_000, 30_000 + SMALL)])
    flows = metered(ports, np.concatenate([first, then, np.full(SMALL, 23.9)]), template)
    reasons = dict(flows.group_by("end_reason").len().iter_rows())
    assert reasons == {"idle": SMALL - 1, "end": SMALL + 1}


def expected(ports: np.ndarray, seconds: np.ndarray) -> list[tuple[int, int, str]]:
    """(port, packets, reason) of each flow, by the rules alone: no sweep, no lists, one look at everything."""
    table: dict[int, list[float]] = {}
    ended: list[tuple[int, int, str]] = []

    def end(port: int, reason: str) -> None:
        ended.append((port, len(table.pop(port)), reason))

    for port, now in zip(ports.tolist(), seconds.tolist(), strict=True):
        if port in table and now - table[port][-1] > IDLE_SECONDS:
            end(port, "idle")
        if port in table:
            table[port].append(now)
            continue
        if len(table) == SMALL:
            over = [p for p, times in table.items() if now - times[-1] > IDLE_SECONDS]
            # The longest silent of one packet, else the longest silent of two.
            order = min(over or table, key=lambda p: (len(table[p]), table[p][-1]))
            end(order, "idle" if over else "evicted")
        table[port] = [now]
    for port in list(table):
        end(port, "idle" if seconds[-1] - table[port][-1] > IDLE_SECONDS else "end")
    return sorted(ended)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), pace=st.sampled_from([0.001, 0.004, 0.02]), again=st.floats(0, 0.6))
def test_rows_of_a_full_table_are_those_of_the_rules(seed: int, pace: float, again: float) -> None:
    rng = np.random.default_rng(seed)
    n = 3 * SMALL
    ports = np.arange(n)
    # Some ports speak a second time, a few to thousands of packets after the first.
    back = rng.random(n) < again
    source = np.maximum(0, np.arange(n) - rng.geometric(1 / rng.choice([5, 500, 3000]), n))
    ports[back] = np.arange(n)[source[back]]
    _, place = np.unique(ports, return_inverse=True)
    seen = np.zeros(place.max() + 1, np.int64)
    kept = np.zeros(n, bool)
    for i, which in enumerate(place):
        seen[which] += 1
        kept[i] = seen[which] <= 2
    ports = ports[kept]
    seconds = np.cumsum(rng.exponential(pace, len(ports)).clip(2e-6, 4.0))
    template = ethernet(ip("10.0.0.1", "10.0.0.2", 17, udp(1, 53, b"")))
    flows = metered(ports, seconds, template)
    told = sorted(zip(flows["orig_port"], flows["orig_packets"], flows["end_reason"], strict=True))
    assert told == expected(ports, seconds)
