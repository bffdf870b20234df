"""What a flow's first packets tell: payload sizes with their direction, pauses, turns and bursts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.features.declare import SIDES, both, category, number, to_array, to_series
from kshot.jit import njit
from kshot.records.columns import Column, Tier

DATA_PACKETS = 8
"""How many of the first packets with payload get a column of their own."""
PAUSES = 6
"""Before how many of these the pause gets a column."""
BURST_PAUSE_SECONDS = 1.0
"""A pause longer than this ends a burst."""
_NO_PAYLOAD_BELOW_BYTES = 6.5
"""TCP packets below carry header padding (Ethernet's 60-byte least frame is 6 above 54), not data."""
_P = Tier.PACKETS

COLUMNS: tuple[Column, ...] = (
    *(
        number(f"data_{k}_bytes", "bytes", f"payload of packet {k} that has any, negative from the responder", _P)
        for k in range(1, DATA_PACKETS + 1)
    ),
    *(
        number(f"data_{k}_pause_seconds", "seconds", f"from data packet {k - 1} to data packet {k}", _P)
        for k in range(2, PAUSES + 1)
    ),
    category("speaks_first", ("orig", "resp"), "who sends payload first; null without payload", _P),
    number("first_answer_seconds", "seconds", "from the first packet to the responder's first", _P),
    number("first_data_seconds", "seconds", "from the first packet to the first with payload", _P),
    number("data_packets", "packets", "packets with payload among the first 32", _P),
    number("data_turns", "1", "how often payload changes direction among the first 32 packets", _P),
    number("data_longest_run", "packets", "most packets with payload in a row from one end", _P),
    number("data_distinct_share", "1", "distinct payload sizes and directions over packets with payload", _P),
    number("data_pause_variation", "1", "standard deviation over mean of pauses between data; null below 3 data", _P),
    number("bursts", "1", "groups among the first 32 packets parted by more than a second", _P),
    *both("payload_max_from_{}", "bytes", "greatest payload of the {} among the first 32 packets", _P),
)
"""Payload sizes a packet are frame sizes less the flow's own mean header, so that no link layer or tunnel counts."""

NEEDED = (
    "packet_sizes_bytes",
    "packet_gaps_seconds",
    *(f"{side}_syn_packets" for side, _ in SIDES),
)
"""Flow columns of the packet tier that are read here."""

_FIRST_PAUSE = DATA_PACKETS
_SPEAKS = _FIRST_PAUSE + PAUSES - 1
_FEATURES = len(COLUMNS)


@njit
def sequence_kernel(
    sizes: NDArray[np.int32],
    gaps: NDArray[np.float32],
    ends: NDArray[np.int64],
    is_tcp: NDArray[np.bool_],
    totals: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Fill `out` (features, n), NaN before, from the packets of n flows lying end to end.

    `totals` is (n, 8): packets, wire bytes, payload bytes, SYN packets of the originator, then of the responder.
    `ends` (n,) tells where each flow's packets end in `sizes` and `gaps`.
    """
    payload = np.empty(64, np.float64)
    times = np.empty(64, np.float64)
    header = np.empty(2, np.float64)
    missing = np.empty(2, np.float64)
    carrying, sent_before = np.empty(2, np.int64), np.empty(2, np.int64)
    begin = 0
    for i in range(len(ends)):
        length = min(int(ends[i]) - begin, 64)
        if length <= 0:
            begin = int(ends[i])
            continue
        for d in range(2):
            packets, wire, data, syns = totals[i, 4 * d], totals[i, 4 * d + 1], totals[i, 4 * d + 2], 0.0
            if is_tcp[i] and totals[i, 4 * d + 3] > 0:
                # A SYN has options that no later packet has: left out of the mean when it opens its direction.
                for k in range(begin, begin + length):
                    if (sizes[k] < 0) == (d == 1):
                        syns = 1.0
                        wire -= abs(int(sizes[k]))
                        break
            missing[d] = data
            carrying[d] = 0
            header[d] = (wire - data) / (packets - syns) if packets > syns else 0.0
            sent_before[d] = 0
        # Each packet's payload, and time since the first packet.
        clock = 0.0
        first_answer = -1.0
        for k in range(length):
            gap = gaps[begin + k]
            if k > 0 and gap > 0 and math.isfinite(gap):
                clock += gap
            times[k] = clock
            size = int(sizes[begin + k])
            d = 1 if size < 0 else 0
            if d == 1 and first_answer < 0:
                first_answer = clock
            size = abs(size)
            value = 0.0
            if totals[i, 4 * d + 2] > 0 and not (is_tcp[i] and sent_before[d] == 0 and totals[i, 4 * d + 3] > 0):
                value = size - header[d]
                if is_tcp[i]:
                    value = value if value >= _NO_PAYLOAD_BELOW_BYTES else 0.0
                else:
                    value = max(value, 1.0)
            sent_before[d] += 1
            payload[k] = value if d == 0 else -value
            missing[d] -= value
            carrying[d] += value > 0
        if sent_before[0] == totals[i, 0] and sent_before[1] == totals[i, 4]:
            # All packets are seen, so what the mean header missed is known and shared out.
            for k in range(length):
                if payload[k] > 0:
                    payload[k] = max(payload[k] + missing[0] / carrying[0], 1.0)
                elif payload[k] < 0:
                    payload[k] = min(payload[k] - missing[1] / carrying[1], -1.0)
        _describe(payload, times, length, first_answer, out[:, i])
        begin = int(ends[i])


@njit
def _describe(payload: Any, times: Any, length: int, first_answer: float, out: Any) -> None:
    """Fill one flow's column of the output from its payload sizes (signed) and times."""
    seen, turns, run, longest, distinct = 0, 0, 0, 0, 0
    bursts = 1
    before, before_time, largest_up, largest_down = 0.0, 0.0, 0.0, 0.0
    pause_sum, pause_squares = 0.0, 0.0
    first_data = -1.0
    for k in range(length):
        if k > 0 and times[k] - times[k - 1] > BURST_PAUSE_SECONDS:
            bursts += 1
        value = payload[k]
        if value == 0:
            continue
        is_new = True
        for j in range(k):
            if abs(payload[j] - value) < 0.5:
                is_new = False
                break
        distinct += is_new
        if seen < DATA_PACKETS:
            out[seen] = round(value)
        pause = times[k] - before_time
        if seen > 0:
            pause_sum += pause
            pause_squares += pause * pause
            if seen < PAUSES:
                out[_FIRST_PAUSE + seen - 1] = pause
        else:
            first_data = times[k]
            out[_SPEAKS] = 0.0 if value > 0 else 1.0
        if seen > 0 and (value > 0) == (before > 0):
            run += 1
        else:
            turns += seen > 0
            run = 1
        longest = max(longest, run)
        if value > 0:
            largest_up = max(largest_up, value)
        else:
            largest_down = max(largest_down, -value)
        seen += 1
        before, before_time = value, times[k]
    if first_answer >= 0:
        out[_SPEAKS + 1] = first_answer
    if first_data >= 0:
        out[_SPEAKS + 2] = first_data
    out[_SPEAKS + 3] = seen
    out[_SPEAKS + 4] = turns
    out[_SPEAKS + 5] = longest
    if seen > 0:
        out[_SPEAKS + 6] = distinct / seen
    if seen >= 3 and pause_sum > 0:
        mean = pause_sum / (seen - 1)
        out[_SPEAKS + 7] = math.sqrt(max(pause_squares / (seen - 1) - mean * mean, 0.0)) / mean
    out[_SPEAKS + 8] = bursts
    out[_SPEAKS + 9] = round(largest_up)
    out[_SPEAKS + 10] = round(largest_down)


def sequence_features(flows: pl.DataFrame) -> list[pl.Series]:
    """Compute the columns of `COLUMNS`, one row a flow of `flows` (packet tier)."""
    sizes, gaps = flows["packet_sizes_bytes"], flows["packet_gaps_seconds"]
    lengths = sizes.list.len().fill_null(0)
    if not lengths.equals(gaps.list.len().fill_null(0)):
        gaps = pl.select(pl.repeat(0.0, int(lengths.sum()), dtype=pl.Float32)).to_series()
    else:
        gaps = gaps.explode(empty_as_null=False, keep_nulls=False)
    totals = np.empty((len(flows), 8))
    for at, (side, _) in enumerate(SIDES):
        for to, name in enumerate(("packets", "wire_bytes", "bytes", "syn_packets")):
            totals[:, 4 * at + to] = to_array(flows[f"{side}_{name}"], np.float64)
    out = np.full((_FEATURES, len(flows)), np.nan, np.float32)
    sequence_kernel(
        to_array(sizes.explode(empty_as_null=False, keep_nulls=False), np.int32),
        to_array(gaps, np.float32),
        to_array(lengths.cast(pl.Int64).cum_sum(), np.int64),
        to_array(flows["protocol"] == 6, np.bool_, False),
        totals,
        out,
    )
    return [to_series(column, values) for column, values in zip(COLUMNS, out, strict=True)]
