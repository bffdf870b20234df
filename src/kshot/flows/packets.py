"""What a packet adds to a record: counts, statistics, first packets, first payload bytes."""

from __future__ import annotations

from kshot.flows.headers import Bytes
from kshot.flows.layout import (
    BLOCK_CLOSED,
    BLOCK_WORDS,
    BLOCKS,
    C_BLOCKS,
    FIRST_TIME,
    GAPS,
    I32_FLAGS,
    I32_SIZE_MAX,
    I32_SIZE_MIN,
    I32_TTL,
    I32_WINDOW_FIRST,
    I32_WINDOW_MAX,
    LAST_TIME,
    SIDE_GAP_MAX,
    SIDE_GAP_MEAN,
    SIDE_GAP_MIN,
    SIDE_GAP_SQUARES,
    SIDE_LAST,
    SIDE_PACKETS,
    SIDE_PAYLOAD,
    SIDE_SQUARES,
    SIDE_WIRE,
    SIDE_WORDS,
    SIDES,
    SIZES,
    SLICE,
    SMALL_HAS_WINDOW,
    SMALL_SIZES,
    SMALL_TIMES,
    SMALL_TRAITS,
    STATUS,
    STATUS_SECOND,
    STATUS_SIDES,
    TOTAL_PACKETS,
    int64,
)
from kshot.flows.pools import Floats, Halves, Octets, Singles, Words
from kshot.jit import njit_part, njit_step
from kshot.records.flows import PAYLOAD_BYTES, SEQUENCE_PACKETS


@njit_part
def clear_counts(words: Words, at: int, time: int) -> None:
    """Begin a full record's counts anew at `time`; key, status, slice and total stay."""
    words[at + FIRST_TIME] = time
    words[at + LAST_TIME] = time
    for i in range(at + SIDES, at + GAPS + SEQUENCE_PACKETS // 2):
        words[i] = 0


@njit_step
def add_packet(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    at: int,
    side: int,
    time: int,
    wire: int,
    payload: int,
    flags: int,
    window: int,
    ttl: int,
) -> None:
    """Count one packet in the full record at word `at`.

    Gaps are running means and squared deviations (Welford 1962), so that a beacon's tiny jitter survives.
    Time running backwards gives gaps of 0.
    """
    own = at + SIDES + side * SIDE_WORDS
    first_half = 2 * at
    index = words[at + SIDES + SIDE_PACKETS] + words[at + SIDES + SIDE_WORDS + SIDE_PACKETS]
    if index < SEQUENCE_PACKETS:
        halves[first_half + 2 * SIZES + index] = wire if side == 0 else -wire
        singles[first_half + 2 * GAPS + index] = max(0, time - words[at + LAST_TIME]) * 1e-9
    if time > words[at + LAST_TIME]:
        words[at + LAST_TIME] = time
    elif time < words[at + FIRST_TIME]:
        words[at + FIRST_TIME] = time
    half = 2 * own
    packets = words[own + SIDE_PACKETS]
    if packets == 0:
        halves[half + I32_SIZE_MIN] = wire
        halves[half + I32_SIZE_MAX] = wire
        halves[half + I32_WINDOW_FIRST] = window
        halves[half + I32_WINDOW_MAX] = window
        halves[half + I32_TTL] = ttl
        words[own + SIDE_LAST] = time
    else:
        gap = max(0, time - words[own + SIDE_LAST])
        seconds = gap * 1e-9
        delta = seconds - floats[own + SIDE_GAP_MEAN]
        floats[own + SIDE_GAP_MEAN] += delta / packets
        floats[own + SIDE_GAP_SQUARES] += delta * (seconds - floats[own + SIDE_GAP_MEAN])
        if packets == 1 or gap < words[own + SIDE_GAP_MIN]:
            words[own + SIDE_GAP_MIN] = gap
        if gap > words[own + SIDE_GAP_MAX]:
            words[own + SIDE_GAP_MAX] = gap
        if time > words[own + SIDE_LAST]:
            words[own + SIDE_LAST] = time
        if wire < halves[half + I32_SIZE_MIN]:
            halves[half + I32_SIZE_MIN] = wire
        if wire > halves[half + I32_SIZE_MAX]:
            halves[half + I32_SIZE_MAX] = wire
        if halves[half + I32_WINDOW_FIRST] < 0:
            halves[half + I32_WINDOW_FIRST] = window
        if window > halves[half + I32_WINDOW_MAX]:
            halves[half + I32_WINDOW_MAX] = window
    words[own + SIDE_PACKETS] = packets + 1
    words[own + SIDE_WIRE] += wire
    words[own + SIDE_PAYLOAD] += payload
    floats[own + SIDE_SQUARES] += 1.0 * wire * wire
    half += I32_FLAGS
    while flags:
        if flags & 1:
            halves[half] += 1
        flags >>= 1
        half += 1


@njit_part
def replay_small(
    words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, small: int, at: int
) -> None:
    """Write the small record at `small` as a full one at `at`, counting its packets again."""
    for i in range(SMALL_TIMES):
        words[at + i] = words[small + i]
    status = words[small + STATUS]
    packets = 2 if status & STATUS_SECOND else 1
    clear_counts(words, at, words[small + SMALL_TIMES])
    words[at + SLICE] = 0
    words[at + TOTAL_PACKETS] = packets
    for i in range(packets):
        sizes = words[small + SMALL_SIZES + i]
        traits = halves[2 * (small + SMALL_TRAITS) + i]
        add_packet(
            words,
            halves,
            floats,
            singles,
            octets,
            at,
            (status >> (STATUS_SIDES + i)) & 1,
            words[small + SMALL_TIMES + i],
            (sizes >> 31) & 0x7FFFFFFF,
            sizes & 0x7FFFFFFF,
            (traits >> 24) & 255,
            traits & 0xFFFF if sizes & SMALL_HAS_WINDOW else -1,
            (traits >> 16) & 255,
        )


@njit_step
def keep_payload(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    block: int,
    buffer: Bytes,
    start: int,
    captured: int,
    payload: int,
) -> bool:
    """Append to a payload block what still fits; a hole torn by the snap length ends it. Return whether it is full."""
    at = words[C_BLOCKS] + block * BLOCK_WORDS
    length = words[at]
    if length >= PAYLOAD_BYTES:
        return True
    taken = min(captured, PAYLOAD_BYTES - length)
    to = 8 * (at + 1) + length
    for i in range(taken):
        octets[to + i] = buffer[start + i]
    length += taken
    if captured < payload and length < PAYLOAD_BYTES:
        length |= BLOCK_CLOSED
    words[at] = length
    return bool(length >= PAYLOAD_BYTES)


@njit_step
def block_of(words: Words, at: int, side: int) -> int:
    """The payload block of one side of the record at `at`; 0 is none."""
    return int64((words[at + BLOCKS] >> (32 * side)) & 0xFFFFFFFF)
