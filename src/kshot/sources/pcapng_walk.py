"""Walks a piece of a pcapng file: sections, interfaces and packets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_part, njit_stored
from kshot.sources.pcap_walk import BROKEN, FULL, LATEST_NANOSECONDS, MORE, read_u32

SECTION_BLOCK = 0x0A0D0D0A
BYTE_ORDER_MAGIC = 0x1A2B3C4D
MOST_BLOCK_BYTES = 16 << 20
"""As libpcap and Wireshark: a longer block is taken for damage."""
MOST_INTERFACES = 1 << 20
"""In one section; a file of nothing but interfaces must not eat the memory."""
NO_LINK_TYPE = -1
"""Of a packet whose interface the section never described."""

INTERFACES_FULL = 3
"""The walk's answer: give it a longer interface table, holding what this one held, and call again."""

BAD_LENGTH, BAD_TRAILER, BAD_BYTE_ORDER, BAD_VERSION, SHORT_BLOCK, TOO_MANY_INTERFACES = range(6)
REASONS = (
    "has an impossible length",
    "has two lengths that differ",
    "has a bad byte-order mark",
    "begins a section of an unknown version",
    "is too short for its type",
    "describes more interfaces than a capture can have",
)
"""What is wrong with the block at which a walk broke, in the order of the numbers above."""

# The walk's memory between calls, in one int64 array.
BIG, INTERFACES, LAST_TIME, UNDESCRIBED, STATE_SIZE = 0, 1, 2, 3, 4

# The columns of the interface table, an int64 array of one row an interface. Ticks are 2^-exponent s where BINARY, else
# 10^-exponent s.
LINK_TYPE, BINARY, EXPONENT, SNAP_BYTES, OFFSET_SECONDS, INTERFACE_COLUMNS = 0, 1, 2, 3, 4, 5

_INT32_MAX = 0x7FFFFFFF
_FAR_SECONDS = 1 << 50


@njit_part
def _read_u16(buffer: NDArray[np.uint8], at: int, big: bool) -> int:
    a, b = np.int64(buffer[at]), np.int64(buffer[at + 1])
    return ((a << 8) | b) if big else (a | (b << 8))  # type: ignore[return-value]


@njit_part
def to_nanoseconds(high: int, low: int, binary: int, exponent: int, offset_seconds: int) -> int:
    """Turn a 64-bit tick count (two halves) of 10^-exponent or 2^-exponent s into ns since the epoch, clamped."""
    ticks = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
    giga = np.uint64(1_000_000_000)
    if binary:
        shift = np.uint64(exponent)
        seconds = ticks >> shift if exponent < 64 else np.uint64(0)
        fraction = ticks - (seconds << shift) if exponent < 64 else ticks
        if exponent > 34:  # 2^34 * 10^9 is the most that fits into 64 bits
            drop = np.uint64(min(exponent - 34, 63))
            fraction = fraction >> drop
            nanoseconds = (fraction * giga) >> np.uint64(34) if exponent < 98 else np.uint64(0)
        else:
            nanoseconds = (fraction * giga) >> shift
    elif exponent > 19:  # 10^20 ticks a second do not fit into 64 bits: all of it is less than a second
        seconds = np.uint64(0)
        nanoseconds = np.uint64(0)
        if exponent <= 28:
            divisor = np.uint64(1)
            for _ in range(exponent - 9):
                divisor = divisor * np.uint64(10)
            nanoseconds = ticks // divisor
    else:
        rate = np.uint64(1)
        for _ in range(exponent):
            rate = rate * np.uint64(10)
        seconds = ticks // rate
        fraction = ticks - seconds * rate
        nanoseconds = fraction * (giga // rate) if exponent <= 9 else fraction // (rate // giga)
    if seconds >= np.uint64(_FAR_SECONDS):
        return LATEST_NANOSECONDS
    total = int(np.int64(seconds)) + offset_seconds
    if total < 0:
        return 0
    if total >= LATEST_NANOSECONDS // 1_000_000_000:
        return LATEST_NANOSECONDS
    return total * 1_000_000_000 + int(np.int64(nanoseconds))


@njit_part
def _describe(
    buffer: NDArray[np.uint8], at: int, end: int, big: bool, interfaces: NDArray[np.int64], index: int
) -> None:
    """Fill row `index` from the interface description block whose body is `buffer[at:end]`."""
    interfaces[index, LINK_TYPE] = _read_u16(buffer, at, big)
    interfaces[index, SNAP_BYTES] = read_u32(buffer, at + 4, big)
    interfaces[index, BINARY] = 0
    interfaces[index, EXPONENT] = 6
    interfaces[index, OFFSET_SECONDS] = 0
    at += 8
    while end - at >= 4:
        code, size = _read_u16(buffer, at, big), _read_u16(buffer, at + 2, big)
        at += 4
        if code == 0 or size > end - at:  # opt_endofopt, or an option that runs out of its block
            return
        if code == 9 and size == 1:  # if_tsresol
            interfaces[index, BINARY] = buffer[at] >> 7
            interfaces[index, EXPONENT] = buffer[at] & 0x7F
        elif code == 14 and size == 8:  # if_tsoffset, signed seconds
            high = read_u32(buffer, at if big else at + 4, big)
            low = read_u32(buffer, at + 4 if big else at, big)
            if high >= 1 << 31:
                high -= 1 << 32
            high = min(max(high, -256), 255)  # 2^40 s either way is far beyond every calendar
            interfaces[index, OFFSET_SECONDS] = (high << 32) + low
        at += (size + 3) & ~3


@njit_stored
def walk_pcapng(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    state: NDArray[np.int64],
    interfaces: NDArray[np.int64],
    offsets: NDArray[np.int64],
    captured: NDArray[np.int32],
    wire: NDArray[np.int32],
    times: NDArray[np.int64],
    links: NDArray[np.int32],
) -> tuple[int, int, int, int]:
    """Walk the blocks in `buffer[start:end]`; return frames, where it stopped, why, and bytes wanted (or fault).

    `state` (STATE_SIZE,) and `interfaces` (n, INTERFACE_COLUMNS) hold the section's byte order and interfaces from
    call to call. A simple packet block has no time: it is given the last one. Format: draft-ietf-opsawg-pcapng.
    """
    found = 0
    room = len(offsets)
    at = start
    big = state[BIG] != 0
    while True:
        if found == room:
            return found, at, FULL, 0
        if end - at < 12:
            return found, at, MORE, 12
        kind = read_u32(buffer, at, big)
        section_big = big
        if kind == SECTION_BLOCK:  # the same in both byte orders; the mark behind its length tells which
            if read_u32(buffer, at + 8, False) == BYTE_ORDER_MAGIC:
                section_big = False
            elif read_u32(buffer, at + 8, True) == BYTE_ORDER_MAGIC:
                section_big = True
            else:
                return found, at, BROKEN, BAD_BYTE_ORDER
        size = read_u32(buffer, at + 4, section_big)
        if size < 12 or size & 3 or size > MOST_BLOCK_BYTES:
            return found, at, BROKEN, BAD_LENGTH
        if end - at < size:
            return found, at, MORE, size
        if read_u32(buffer, at + size - 4, section_big) != size:
            return found, at, BROKEN, BAD_TRAILER
        body, tail = at + 8, at + size - 4

        if kind == 6 or kind == 2:  # enhanced packet; packet (obsolete)
            if tail - body < 20:
                return found, at, BROKEN, SHORT_BLOCK
            index = read_u32(buffer, body, big) if kind == 6 else _read_u16(buffer, body, big)
            length = min(read_u32(buffer, body + 12, big), tail - body - 20)
            on_wire = read_u32(buffer, body + 16, big)
            high, low = read_u32(buffer, body + 4, big), read_u32(buffer, body + 8, big)
            offsets[found] = body + 20
            captured[found] = length
            wire[found] = on_wire if length <= on_wire <= _INT32_MAX else length
            if index < state[INTERFACES]:
                binary, exponent = int(interfaces[index, BINARY]), int(interfaces[index, EXPONENT])
                shift_seconds = int(interfaces[index, OFFSET_SECONDS])
                # Nearly every file counts microseconds or nanoseconds from the epoch.
                if binary == 0 and exponent == 6 and shift_seconds == 0 and high < 1 << 20:
                    state[LAST_TIME] = min(((high << 32) | low) * 1000, LATEST_NANOSECONDS)
                elif binary == 0 and exponent == 9 and shift_seconds == 0 and high < 1 << 30:
                    state[LAST_TIME] = (high << 32) | low
                else:
                    state[LAST_TIME] = to_nanoseconds(high, low, binary, exponent, shift_seconds)
                links[found] = interfaces[index, LINK_TYPE]
            else:
                links[found] = NO_LINK_TYPE
                state[UNDESCRIBED] += 1
            times[found] = state[LAST_TIME]
            found += 1
        elif kind == 3:  # simple packet: of the first interface, its captured length is what fits
            if tail - body < 4:
                return found, at, BROKEN, SHORT_BLOCK
            on_wire = read_u32(buffer, body, big)
            length = min(on_wire, tail - body - 4)
            if state[INTERFACES] > 0:
                if interfaces[0, SNAP_BYTES] > 0:
                    length = min(length, interfaces[0, SNAP_BYTES])
                links[found] = interfaces[0, LINK_TYPE]
            else:
                links[found] = NO_LINK_TYPE
                state[UNDESCRIBED] += 1
            offsets[found] = body + 4
            captured[found] = length
            wire[found] = on_wire if on_wire <= _INT32_MAX else length
            times[found] = state[LAST_TIME]
            found += 1
        elif kind == 1:  # interface description
            if tail - body < 8:
                return found, at, BROKEN, SHORT_BLOCK
            if state[INTERFACES] == len(interfaces):
                if len(interfaces) >= MOST_INTERFACES:
                    return found, at, BROKEN, TOO_MANY_INTERFACES
                return found, at, INTERFACES_FULL, 0
            _describe(buffer, body, tail, big, interfaces, state[INTERFACES])
            state[INTERFACES] += 1
        elif kind == SECTION_BLOCK:
            if tail - body < 16:
                return found, at, BROKEN, SHORT_BLOCK
            if _read_u16(buffer, body + 4, section_big) != 1:
                return found, at, BROKEN, BAD_VERSION
            big = section_big
            state[BIG] = 1 if big else 0
            state[INTERFACES] = 0
        at += size
