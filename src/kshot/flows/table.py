"""The flow table: looks each packet's flow up, opens, continues and slices it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.flows.conn_state import (
    ACK,
    END_ACTIVE,
    END_IDLE,
    SYN,
    follow_tcp,
    settle_originator,
)
from kshot.flows.decode import (
    F_FLAGS,
    F_FRAGMENT,
    F_HASH,
    F_KEY,
    F_PAYLOAD,
    F_PAYLOAD_CAPTURED,
    F_PAYLOAD_START,
    F_PROTOCOL,
    F_SIDE,
    F_TTL,
    F_VERDICT,
    F_WINDOW,
    FIELDS,
    decode_frame,
)
from kshot.flows.ending import (
    SPARED,
    advance_clock,
    due,
    end_flow,
    evict_full,
    evict_small,
    last_time_of,
    requeue,
    sweep,
    write_row,
)
from kshot.flows.fragments import join_fragment
from kshot.flows.headers import METERED, Bytes
from kshot.flows.layout import (
    BLOCK_WORDS,
    BLOCKS,
    C_ACTIVE,
    C_BLOCKS,
    C_CLOCK,
    C_IDLE,
    C_METERED,
    C_ROW_CAPACITY,
    C_ROWS_USED,
    C_SEED,
    C_SLOT_MASK,
    C_SLOTS,
    C_SMALL_CAPACITY,
    C_TURN,
    C_UNWRAP,
    ESTABLISHED_PACKETS,
    FIRST_TIME,
    GAPS,
    KEY_WORDS,
    LATEST_NANOSECONDS,
    LINGER_NANOSECONDS,
    LIST_CLOSED_FULL,
    LIST_CLOSED_SMALL,
    LIST_ESTABLISHED,
    LIST_ONE,
    LIST_TWO,
    LIST_YOUNG,
    LISTS,
    SIDE_WORDS,
    SIDES,
    SIZES,
    SLICE,
    SMALL_HAS_WINDOW,
    SMALL_SIZES,
    SMALL_TIMES,
    SMALL_TRAITS,
    STATUS,
    STATUS_CLOSED,
    STATUS_FILLED,
    STATUS_LIST,
    STATUS_ORIGINATOR,
    STATUS_SECOND,
    STATUS_SIDES,
    TOTAL_PACKETS,
    TOUCHED,
    int64,
)
from kshot.flows.packets import add_packet, block_of, clear_counts, keep_payload, replay_small
from kshot.flows.pools import (
    Floats,
    Halves,
    Octets,
    Singles,
    Words,
    append_to_list,
    base_of,
    find_slot,
    free_record,
    hash_key,
    new_block,
    new_full,
    new_small,
    take_from_list,
)
from kshot.jit import bare, njit_bare, njit_part, njit_step, prefetch

BLOCK_FRAMES = 64
"""Frames decoded before the table sees the first of them."""
_ROWS_IN_RESERVE = 40
"""More rows than one packet can fill: what the sweep ends, what is evicted for it, its own flow's last slice."""


@njit_step
def _keep(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    record: int,
    at: int,
    side: int,
    buffer: Bytes,
    fields: Words,
    of: int,
) -> None:
    """Keep the packet's first payload bytes, as far as its side has room for them."""
    captured = fields[of + F_PAYLOAD_CAPTURED]
    if captured <= 0 or (words[at + STATUS] >> (STATUS_FILLED + side)) & 1:
        return
    block = block_of(words, at, side)
    if block == 0:
        block = new_block(words)
        tries = 0
        while block == 0 and tries < SPARED and evict_small(words, halves, floats, singles, octets, record):
            block = new_block(words)
            tries += 1
        if block == 0:
            return
        words[at + BLOCKS] |= block << (32 * side)
    start = fields[of + F_PAYLOAD_START]
    payload = fields[of + F_PAYLOAD]
    if keep_payload(words, halves, floats, singles, octets, block, buffer, start, captured, payload):
        words[at + STATUS] |= 1 << (STATUS_FILLED + side)


@njit_part
def _open_flow(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    hashed: int,
    time: int,
    wire: int,
    buffer: Bytes,
    fields: Words,
    of: int,
) -> None:
    """A flow's first packet: a small record."""
    record = new_small(words)
    while record < 0:
        evict_small(words, halves, floats, singles, octets, -1)
        record = new_small(words)
    at = base_of(words, record)
    for i in range(KEY_WORDS):
        words[at + i] = fields[of + F_KEY + i]
    side = fields[of + F_SIDE]
    status = (hashed << 32) | (side << STATUS_SIDES)
    if side:
        status |= STATUS_ORIGINATOR
    if fields[of + F_PROTOCOL] == 6:
        status = settle_originator(follow_tcp(status, side, fields[of + F_FLAGS]), side, fields[of + F_FLAGS])
    words[at + TOUCHED] = words[C_CLOCK]
    words[at + STATUS] = status
    words[at + BLOCKS] = 0
    _note(words, halves, floats, singles, octets, at, 0, time, wire, fields, of)
    words[words[C_SLOTS] + find_slot(words, hashed, -1)] = (hashed << 32) | (record + 1)
    append_to_list(words, halves, record, LIST_CLOSED_SMALL if status & STATUS_CLOSED else LIST_ONE)
    _keep(words, halves, floats, singles, octets, record, at, side, buffer, fields, of)


@njit_step
def _note(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    at: int,
    index: int,
    time: int,
    wire: int,
    fields: Words,
    of: int,
) -> None:
    """Note a packet in a small record."""
    words[at + SMALL_TIMES + index] = time
    sizes = (wire << 31) | fields[of + F_PAYLOAD]
    words[at + SMALL_SIZES + index] = sizes | SMALL_HAS_WINDOW if fields[of + F_WINDOW] >= 0 else sizes
    # Signed: the top flag bit makes the half negative, and is masked out again when it is read.
    traits = (fields[of + F_FLAGS] << 24) | (fields[of + F_TTL] << 16) | (fields[of + F_WINDOW] & 0xFFFF)
    halves[2 * (at + SMALL_TRAITS) + index] = traits - (1 << 32) if traits >= 1 << 31 else traits


@njit_part
def _promote(words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, record: int) -> int:
    """Make a small record a full one; return its new number."""
    full = new_full(words)
    while full < 0:
        evict_full(words, halves, floats, singles, octets)
        full = new_full(words)
    small = base_of(words, record)
    at = base_of(words, full)
    replay_small(words, halves, floats, singles, octets, small, at)
    status = words[small + STATUS]
    hashed = (status >> 32) & 0x7FFFFFFF
    words[words[C_SLOTS] + find_slot(words, hashed, record)] = (hashed << 32) | (full + 1)
    take_from_list(words, halves, record)
    free_record(words, record)
    append_to_list(words, halves, full, LIST_CLOSED_FULL if status & STATUS_CLOSED else LIST_YOUNG)
    return full


@njit_part
def _slice(
    words: Words, halves: Halves, floats: Floats, singles: Singles, octets: Octets, record: int, time: int
) -> None:
    """Write a long flow's counts so far and begin the next slice; key, originator and TCP state go on."""
    at = base_of(words, record)
    write_row(words, halves, floats, singles, octets, record, END_ACTIVE)
    words[at + SLICE] += 1
    words[at + STATUS] &= ~(3 << STATUS_FILLED)
    clear_counts(words, at, time)
    for side in range(2):
        block = block_of(words, at, side)
        if block:
            words[words[C_BLOCKS] + block * BLOCK_WORDS] = 0


@njit_step
def _continue_flow(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    record: int,
    time: int,
    wire: int,
    buffer: Bytes,
    fields: Words,
    of: int,
) -> None:
    """A further packet of a known flow."""
    at = base_of(words, record)
    side = fields[of + F_SIDE]
    status = words[at + STATUS]
    small = record < words[C_SMALL_CAPACITY]
    over = time - words[at + (SMALL_TIMES if small else FIRST_TIME)] >= words[C_ACTIVE]
    if small and (over or status & STATUS_SECOND):
        record = _promote(words, halves, floats, singles, octets, record)
        at = base_of(words, record)
        status = words[at + STATUS]
        small = False
    if over:
        _slice(words, halves, floats, singles, octets, record, time)
        status = words[at + STATUS]
    which = status & STATUS_LIST
    if fields[of + F_PROTOCOL] == 6:
        status = follow_tcp(status, side, fields[of + F_FLAGS])
        if small or words[at + TOTAL_PACKETS] == 2:
            status = settle_originator(status, side, fields[of + F_FLAGS])
    words[at + TOUCHED] = words[C_CLOCK]
    if small:
        status |= STATUS_SECOND | (side << (STATUS_SIDES + 1))
        _note(words, halves, floats, singles, octets, at, 1, time, wire, fields, of)
        wanted = LIST_CLOSED_SMALL if status & STATUS_CLOSED else LIST_TWO
    else:
        words[at + TOTAL_PACKETS] += 1
        add_packet(
            words,
            halves,
            floats,
            singles,
            octets,
            at,
            side,
            time,
            wire,
            fields[of + F_PAYLOAD],
            fields[of + F_FLAGS],
            fields[of + F_WINDOW],
            fields[of + F_TTL],
        )
        wanted = LIST_YOUNG if words[at + TOTAL_PACKETS] < ESTABLISHED_PACKETS else LIST_ESTABLISHED
        if status & STATUS_CLOSED:
            wanted = LIST_CLOSED_FULL
    words[at + STATUS] = status
    if wanted != which:
        requeue(words, halves, floats, singles, octets, record, wanted)
    _keep(words, halves, floats, singles, octets, record, at, side, buffer, fields, of)


@njit_step
def _lookup(words: Words, hashed: int, fields: Words, of: int) -> int:
    """The record of the packet's flow, or -1."""
    slots = words[C_SLOTS]
    mask = words[C_SLOT_MASK]
    place = hashed & mask
    while True:
        entry = words[slots + place]
        if entry == 0:
            return int64(-1)
        if entry >> 32 == hashed:
            record = (entry & 0xFFFFFFFF) - 1
            at = base_of(words, record)
            same = True
            for i in range(KEY_WORDS):
                same = same and words[at + i] == fields[of + F_KEY + i]
            if same:
                return int64(record)
        place = (place + 1) & mask


@njit_step
def _decode_block(
    words: Words,
    fields: Words,
    buffer: Bytes,
    offsets: NDArray[np.int64],
    captured_bytes: NDArray[np.int32],
    wire_bytes: NDArray[np.int32],
    link_types: NDArray[np.int32],
    first: int,
    last: int,
) -> None:
    """Decode frames `first` to `last` and send for what they will need of the table.

    Nearly every packet's flow lies far from the processor. Sent for one by one each would be waited for; so the waits
    overlap.
    """
    unwrap = words[C_UNWRAP] != 0
    seed = words[C_SEED]
    slots = words[C_SLOTS]
    mask = words[C_SLOT_MASK]
    for i in range(first, last):
        of = (i - first) * FIELDS
        captured = int64(captured_bytes[i])
        wire = int64(max(wire_bytes[i], captured_bytes[i]))
        verdict = decode_frame(buffer, offsets[i], captured, wire, int64(link_types[i]), unwrap, fields, of)
        fields[of + F_VERDICT] = verdict
        if verdict == METERED:
            hashed = hash_key(fields, of + F_KEY, seed)
            fields[of + F_HASH] = hashed
            prefetch(words, slots + (hashed & mask))
    for i in range(first, last):
        of = (i - first) * FIELDS
        if fields[of + F_VERDICT] == METERED:
            record = (words[slots + (fields[of + F_HASH] & mask)] & 0xFFFFFFFF) - 1
            if record >= 0:
                at = base_of(words, record)
                prefetch(words, at)
                prefetch(words, at + 8)
                if record >= words[C_SMALL_CAPACITY]:
                    own = at + SIDES + fields[of + F_SIDE] * SIDE_WORDS
                    prefetch(words, own)
                    prefetch(words, own + 8)
                    prefetch(words, at + SIZES)
                    prefetch(words, at + GAPS)


@njit_bare
def meter_frames(
    words: Words,
    halves: Halves,
    floats: Floats,
    singles: Singles,
    octets: Octets,
    fields: Words,
    buffer: Bytes,
    offsets: NDArray[np.int64],
    captured_bytes: NDArray[np.int32],
    wire_bytes: NDArray[np.int32],
    times: NDArray[np.int64],
    link_types: NDArray[np.int32],
    begin: int,
) -> int:
    """Meter the frames from `begin` on; return how many are done, fewer than all when the export area is full.

    Shapes: offsets, captured_bytes, wire_bytes, times (nanoseconds) and link_types (n,), all frames in `buffer`.
    """
    n = len(offsets)
    words, halves, floats, singles, octets = bare(words), bare(halves), bare(floats), bare(singles), bare(octets)
    fields, buffer, offsets = bare(fields), bare(buffer), bare(offsets)
    captured_bytes, wire_bytes, times, link_types = (
        bare(captured_bytes),
        bare(wire_bytes),
        bare(times),
        bare(link_types),
    )
    for first in range(begin, n, BLOCK_FRAMES):
        last = min(n, first + BLOCK_FRAMES)
        _decode_block(words, fields, buffer, offsets, captured_bytes, wire_bytes, link_types, first, last)
        for i in range(first, last):
            if words[C_ROWS_USED] + _ROWS_IN_RESERVE > words[C_ROW_CAPACITY]:
                return i
            of = (i - first) * FIELDS
            time = min(max(times[i], 0), LATEST_NANOSECONDS)
            advance_clock(words, time)
            if due(words):
                sweep(words, halves, floats, singles, octets)
            words[C_TURN] = words[C_TURN] + 1 if words[C_TURN] + 1 < LISTS else 0
            verdict = fields[of + F_VERDICT]
            words[C_METERED + verdict] += 1
            if verdict != METERED:
                continue
            if fields[of + F_FRAGMENT]:
                join_fragment(words, fields, of, time)
                fields[of + F_HASH] = hash_key(fields, of + F_KEY, words[C_SEED])
            hashed = fields[of + F_HASH]
            wire = int64(max(wire_bytes[i], captured_bytes[i]))
            record = _lookup(words, hashed, fields, of)
            if record >= 0:
                at = base_of(words, record)
                status = words[at + STATUS]
                last_time = last_time_of(words, record, at)
                closed = status & STATUS_CLOSED
                limit = LINGER_NANOSECONDS if closed else words[C_IDLE]
                anew = closed and fields[of + F_FLAGS] & (SYN | ACK) == SYN
                if anew or abs(time - last_time) > limit:
                    end_flow(words, halves, floats, singles, octets, record, END_IDLE)
                    record = int64(-1)
            if record >= 0:
                _continue_flow(words, halves, floats, singles, octets, record, time, wire, buffer, fields, of)
            else:
                _open_flow(words, halves, floats, singles, octets, hashed, time, wire, buffer, fields, of)
    return n
