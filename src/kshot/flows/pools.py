"""The flow table's memory: hash slots, linked lists, records and payload blocks in one arena."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.flows.layout import (
    BLOCK_WORDS,
    BLOCKS,
    C_ACTIVE,
    C_BLOCK_CAPACITY,
    C_BLOCK_FREE,
    C_BLOCK_USED,
    C_BLOCKS,
    C_FRAGMENT_MASK,
    C_FRAGMENTS,
    C_FULL,
    C_FULL_CAPACITY,
    C_FULL_FREE,
    C_FULL_USED,
    C_HEADS,
    C_IDLE,
    C_LINKS,
    C_ROW_CAPACITY,
    C_ROWS,
    C_SEED,
    C_SLOT_MASK,
    C_SLOTS,
    C_SMALL,
    C_SMALL_CAPACITY,
    C_SMALL_FREE,
    C_SMALL_USED,
    C_TAILS,
    C_UNWRAP,
    CONTROL_WORDS,
    FRAGMENT_WAYS,
    FRAGMENT_WORDS,
    FULL_WORDS,
    LINE_WORDS,
    LISTS,
    QUEUED,
    ROW_WORDS,
    SMALL_WORDS,
    STATUS,
    STATUS_LIST,
    TOUCHED,
    int64,
)
from kshot.jit import njit_part, njit_step

Words = NDArray[np.int64]
Halves = NDArray[np.int32]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Octets = NDArray[np.uint8]


class Arena(NamedTuple):
    """One piece of memory seen as five types; it begins with the control block, which says where what lies.

    Kernels take the five one by one: an array taken out of a tuple is reference-counted at every use.
    """

    words: Words
    halves: Halves
    floats: Floats
    singles: Singles
    octets: Octets


def make_arena(memory_bytes: int, *, idle_nanoseconds: int, active_nanoseconds: int, unwrap: bool, seed: int) -> Arena:
    """Lay out an arena of at most `memory_bytes`; the kernel hands out its pages only as they are first touched.

    Half goes to full records, what the rest holds to small ones. seed: keeps the places in the table unguessable.
    """
    total = memory_bytes // 8 - 16 * LINE_WORDS  # what rounding up to whole lines can take
    rows = min(16_384, max(256, total // 16 // ROW_WORDS))
    sets = 1 << max(4, min(10, (total // 64 // (FRAGMENT_WORDS * FRAGMENT_WAYS)).bit_length() - 1))
    left = total - rows * ROW_WORDS - sets * FRAGMENT_WAYS * FRAGMENT_WORDS
    full = max(16, left // 2 // (FULL_WORDS + 2 * BLOCK_WORDS + 3))
    small = (left - full * (FULL_WORDS + 2 * BLOCK_WORDS + 3)) // (SMALL_WORDS + BLOCK_WORDS + 3)
    while True:
        slots = 1 << (3 * (small + full) // 2).bit_length()
        blocks = small + 2 * full
        sizes = (
            CONTROL_WORDS,
            slots,
            small + full,
            small * SMALL_WORDS,
            full * FULL_WORDS,
            (blocks + 1) * BLOCK_WORDS,
            rows * ROW_WORDS,
            sets * FRAGMENT_WAYS * FRAGMENT_WORDS,
        )
        if sum(sizes) <= total:
            break
        small -= small // 50 + 1
    places = np.concatenate([[0], np.cumsum([-(-size // LINE_WORDS) * LINE_WORDS for size in sizes])])
    words = np.zeros(int(places[-1]) + LINE_WORDS, np.int64)
    words = words[-(words.ctypes.data // 8) % LINE_WORDS :][: places[-1]]
    control = words[:CONTROL_WORDS]
    areas = (C_SLOTS, C_LINKS, C_SMALL, C_FULL, C_BLOCKS, C_ROWS, C_FRAGMENTS)
    for field, place in zip(areas, places[1:-1], strict=True):
        control[field] = place
    control[C_SLOT_MASK] = slots - 1
    control[C_SMALL_CAPACITY] = small
    control[C_FULL_CAPACITY] = full
    control[C_BLOCK_CAPACITY] = blocks
    control[C_ROW_CAPACITY] = rows
    control[C_FRAGMENT_MASK] = sets - 1
    control[C_IDLE] = idle_nanoseconds
    control[C_ACTIVE] = active_nanoseconds
    control[C_UNWRAP] = unwrap
    control[C_SEED] = seed & 0xFFFFFFFF
    control[C_SMALL_FREE] = control[C_FULL_FREE] = -1
    control[C_HEADS : C_HEADS + LISTS] = -1
    control[C_TAILS : C_TAILS + LISTS] = -1
    return Arena(words, words.view(np.int32), words.view(np.float64), words.view(np.float32), words.view(np.uint8))


@njit_step
def hash_key(words: Words, at: int, seed: int) -> int:
    """31 bits of the six-word key at `at`. Products stay below 2**63, so nothing overflows with or without the JIT."""
    value = seed
    for i in range(6):
        word = words[at + i]
        value = ((value ^ (word & 0xFFFFFFFF)) & 0xFFFFFFFF) * 0x5BD1E995
        value ^= value >> 32
        if word >> 32:
            value = ((value ^ (word >> 32)) & 0xFFFFFFFF) * 0x7FEB352D
            value ^= value >> 32
    return (value ^ (value >> 15)) & 0x7FFFFFFF


@njit_step
def base_of(words: Words, record: int) -> int:
    """Where a record begins. Small records are numbered first, full ones after them."""
    small = words[C_SMALL_CAPACITY]
    if record < small:
        return int64(words[C_SMALL] + record * SMALL_WORDS)
    return int64(words[C_FULL] + (record - small) * FULL_WORDS)


@njit_step
def append_to_list(words: Words, halves: Halves, record: int, which: int) -> None:
    """Put a record that is in no list at the end of one."""
    links = 2 * words[C_LINKS]
    tail = words[C_TAILS + which]
    halves[links + 2 * record] = -1
    halves[links + 2 * record + 1] = tail
    if tail < 0:
        words[C_HEADS + which] = record
    else:
        halves[links + 2 * tail] = record
    words[C_TAILS + which] = record
    at = base_of(words, record)
    words[at + STATUS] = (words[at + STATUS] & ~STATUS_LIST) | which
    if record >= words[C_SMALL_CAPACITY]:
        words[at + QUEUED] = words[at + TOUCHED]


@njit_step
def take_from_list(words: Words, halves: Halves, record: int) -> None:
    """Take a record out of the list it is in."""
    links = 2 * words[C_LINKS]
    which = words[base_of(words, record) + STATUS] & STATUS_LIST
    after = halves[links + 2 * record]
    before = halves[links + 2 * record + 1]
    if before < 0:
        words[C_HEADS + which] = after
    else:
        halves[links + 2 * before] = after
    if after < 0:
        words[C_TAILS + which] = before
    else:
        halves[links + 2 * after + 1] = before


@njit_part
def find_slot(words: Words, hashed: int, record: int) -> int:
    """The slot that holds `record`, or with record -1 the empty slot where a new one belongs."""
    slots = words[C_SLOTS]
    mask = words[C_SLOT_MASK]
    wanted = (hashed << 32) | (record + 1)
    if record < 0:
        wanted = 0
    place = hashed & mask
    while words[slots + place] != wanted:
        place = (place + 1) & mask
    return int64(place)


@njit_part
def clear_slot(words: Words, place: int) -> None:
    """Empty a slot and move back whatever had to step aside for it (Knuth, TAOCP 3, 6.4, algorithm R)."""
    slots = words[C_SLOTS]
    mask = words[C_SLOT_MASK]
    hole = place
    while True:
        place = (place + 1) & mask
        entry = words[slots + place]
        if entry == 0:
            break
        home = (entry >> 32) & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            words[slots + hole] = entry
            hole = place
    words[slots + hole] = 0


@njit_part
def free_blocks(words: Words, at: int) -> None:
    """Give back both payload blocks of the record at `at`."""
    both = words[at + BLOCKS]
    words[at + BLOCKS] = 0
    for block in (both & 0xFFFFFFFF, both >> 32):
        if block:
            words[words[C_BLOCKS] + block * BLOCK_WORDS] = words[C_BLOCK_FREE]
            words[C_BLOCK_FREE] = block


@njit_part
def new_block(words: Words) -> int:
    """An empty payload block; 0 when all are taken."""
    block = words[C_BLOCK_FREE]
    if block:
        words[C_BLOCK_FREE] = words[words[C_BLOCKS] + block * BLOCK_WORDS]
    elif words[C_BLOCK_USED] < words[C_BLOCK_CAPACITY]:
        words[C_BLOCK_USED] += 1
        block = words[C_BLOCK_USED]
    else:
        return int64(0)
    words[words[C_BLOCKS] + block * BLOCK_WORDS] = 0
    return int64(block)


@njit_part
def free_record(words: Words, record: int) -> None:
    """Give back a record that is in no list and no slot; a free one's first word leads to the next free one."""
    at = base_of(words, record)
    which = C_SMALL_FREE if record < words[C_SMALL_CAPACITY] else C_FULL_FREE
    words[at] = words[which]
    words[which] = record


@njit_part
def new_small(words: Words) -> int:
    """An unused small record, or -1."""
    record = words[C_SMALL_FREE]
    if record >= 0:
        words[C_SMALL_FREE] = words[base_of(words, record)]
        return int64(record)
    if words[C_SMALL_USED] < words[C_SMALL_CAPACITY]:
        words[C_SMALL_USED] += 1
        return int64(words[C_SMALL_USED] - 1)
    return int64(-1)


@njit_part
def new_full(words: Words) -> int:
    """An unused full record, or -1."""
    record = words[C_FULL_FREE]
    if record >= 0:
        words[C_FULL_FREE] = words[base_of(words, record)]
        return int64(record)
    if words[C_FULL_USED] < words[C_FULL_CAPACITY]:
        words[C_FULL_USED] += 1
        return int64(words[C_SMALL_CAPACITY] + words[C_FULL_USED] - 1)
    return int64(-1)
