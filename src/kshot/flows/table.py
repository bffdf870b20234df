"""The flow table: looks each packet's flow up, opens, continues and slices it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.flows.conn_state import (
    ACK,
    END_IDLE,
    SYN,
)
from kshot.flows.decode import decode_frame
from kshot.flows.ending import (
    advance_clock,
    due,
    end_flow,
    last_time_of,
    sweep,
)
from kshot.flows.fields import (
    F_FLAGS,
    F_FRAGMENT,
    F_HASH,
    F_KEY,
    F_SIDE,
    F_VERDICT,
    FIELDS,
)
from kshot.flows.fragments import join_fragment
from kshot.flows.headers import METERED, Bytes
from kshot.flows.layout import (
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
    GAPS,
    KEY_WORDS,
    LATEST_NANOSECONDS,
    LINGER_NANOSECONDS,
    LISTS,
    SIDE_WORDS,
    SIDES,
    SIZES,
    STATUS,
    STATUS_CLOSED,
    int64,
)
from kshot.flows.opening import continue_flow, open_flow
from kshot.flows.pools import (
    Floats,
    Halves,
    Octets,
    Singles,
    Words,
    base_of,
    hash_key,
)
from kshot.jit import bare, njit_step, njit_stored, prefetch

BLOCK_FRAMES = 64
"""Frames decoded before the table sees the first of them."""
_ROWS_IN_RESERVE = 40
"""More rows than one packet can fill: what the sweep ends, what is evicted for it, its own flow's last slice."""


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


@njit_stored
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
                continue_flow(words, halves, floats, singles, octets, record, time, wire, buffer, fields, of)
            else:
                open_flow(words, halves, floats, singles, octets, hashed, time, wire, buffer, fields, of)
    return n
