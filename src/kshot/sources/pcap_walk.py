"""Walks a piece of a classic pcap file: where each frame lies, how long it is and when it came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_part, njit_stored

MORE = 0
"""The walk's answer: it needs more bytes to go on."""
FULL = 1
"""The arrays are full; call again."""
BROKEN = 2
"""The container makes no sense here; for pcapng the third number says why."""
LATEST_NANOSECONDS = 1 << 62
"""Times are clamped into 0 .. 2^62 ns (year 2116), so that adding a timeout to one never overflows."""

_INT32_MAX = 0x7FFFFFFF


@njit_part
def read_u32(buffer: NDArray[np.uint8], at: int, big: bool) -> int:
    """The unsigned 32-bit number at `at`."""
    a, b = np.int64(buffer[at]), np.int64(buffer[at + 1])
    c, d = np.int64(buffer[at + 2]), np.int64(buffer[at + 3])
    if big:
        return (a << 24) | (b << 16) | (c << 8) | d  # type: ignore[return-value]
    return a | (b << 8) | (c << 16) | (d << 24)  # type: ignore[return-value]


@njit_stored
def walk_pcap(
    buffer: NDArray[np.uint8],
    start: int,
    end: int,
    big: bool,
    nanoseconds: bool,
    record_bytes: int,
    lengths: int,
    most_bytes: int,
    link_type: int,
    offsets: NDArray[np.int64],
    captured: NDArray[np.int32],
    wire: NDArray[np.int32],
    times: NDArray[np.int64],
    links: NDArray[np.int32],
) -> tuple[int, int, int, int]:
    """Walk the records in `buffer[start:end]`; return frames found, where it stopped, why, and the bytes wanted there.

    `record_bytes` is the record header's size (16, or 24 for Kuznetzov's patched format). `lengths` tells how the two
    lengths are ordered: 0 captured first, 1 captured last (before version 2.3), 2 whichever is smaller (version 2.3).
    A record of more than `most_bytes` breaks the walk. Format: draft-ietf-opsawg-pcap and libpcap's sf-pcap.c.
    """
    found = 0
    room = len(offsets)
    at = start
    while True:
        if found == room:
            return found, at, FULL, 0
        if end - at < record_bytes:
            return found, at, MORE, record_bytes
        first = read_u32(buffer, at + 8, big)
        second = read_u32(buffer, at + 12, big)
        if lengths == 1 or (lengths == 2 and first > second):
            first, second = second, first
        if first > most_bytes:
            return found, at, BROKEN, first
        if end - at - record_bytes < first:
            return found, at, MORE, record_bytes + first
        fraction = read_u32(buffer, at + 4, big)
        if not nanoseconds:
            fraction *= 1000
        offsets[found] = at + record_bytes
        captured[found] = first
        # A wire length below the captured one, or of 2 GiB and more, is a lie; the frame was at least what is here.
        wire[found] = second if first <= second <= _INT32_MAX else first
        times[found] = min(read_u32(buffer, at, big) * 1_000_000_000 + fraction, LATEST_NANOSECONDS)
        links[found] = link_type
        found += 1
        at += record_bytes + first
