"""How flows open and go on: a small record, then a full one, a slice after so long."""

from __future__ import annotations

from kshot.flows.conn_state import (
    END_ACTIVE,
    follow_tcp,
    settle_originator,
)
from kshot.flows.ending import (
    SPARED,
    evict_full,
    evict_small,
    requeue,
    write_row,
)
from kshot.flows.fields import (
    F_FLAGS,
    F_KEY,
    F_PAYLOAD,
    F_PAYLOAD_CAPTURED,
    F_PAYLOAD_START,
    F_PROTOCOL,
    F_SIDE,
    F_TTL,
    F_WINDOW,
)
from kshot.flows.headers import Bytes
from kshot.flows.layout import (
    BLOCK_WORDS,
    BLOCKS,
    C_ACTIVE,
    C_BLOCKS,
    C_CLOCK,
    C_SLOTS,
    C_SMALL_CAPACITY,
    ESTABLISHED_PACKETS,
    FIRST_TIME,
    KEY_WORDS,
    LIST_CLOSED_FULL,
    LIST_CLOSED_SMALL,
    LIST_ESTABLISHED,
    LIST_ONE,
    LIST_TWO,
    LIST_YOUNG,
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
    new_block,
    new_full,
    new_small,
    take_from_list,
)
from kshot.jit import njit_part, njit_step


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
def open_flow(
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
def continue_flow(
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
