"""Walks a block of the kernel's packet ring: where each frame lies, how long it is and when it came."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_stored

BLOCK_STATUS, BLOCK_PACKETS, BLOCK_FIRST = 2, 3, 4
"""32-bit words of a block's header (tpacket_block_desc): whose it is, frames in it, where the first one begins."""
LEAST_FRAME_BYTES = 88
"""A frame takes at least its header (tpacket3_hdr, 48 bytes) and its address (sockaddr_ll), rounded up."""
HEARD, LEFT_OUT, TAGGED, JOINED = range(4)
"""What a walk adds to its tally: frames given, outgoing copies left out, VLAN tags put back, super-packets."""

_NEXT, _SECONDS, _NANOSECONDS, _CAPTURED, _WIRE, _STATUS = range(6)
_TAG = 8
"""32-bit words of a frame's header; and 16-bit ones:"""
_FRAME_AT, _TAG_TYPE = 12, 18
_PACKET_TYPE = 58
_OUTGOING = 4
_TAG_VALID, _TAG_TYPE_VALID, _GSO = 1 << 4, 1 << 6, 1 << 8
_DOT1Q = 0x8100


@njit_stored
def walk_block(
    octets: NDArray[np.uint8],
    halves: NDArray[np.uint16],
    words: NDArray[np.uint32],
    block: int,
    link_type: int,
    most_wire_bytes: int,
    leave_outgoing: bool,
    offsets: NDArray[np.int64],
    captured: NDArray[np.int32],
    wire: NDArray[np.int32],
    times: NDArray[np.int64],
    links: NDArray[np.int32],
    tally: NDArray[np.int64],
) -> int:
    """Fill the arrays with the frames of the block that begins at byte `block`; return how many.

    octets, halves, words: the whole ring, three times. A VLAN tag that the kernel took off is put back in its place,
    before the EtherType: the two addresses move four bytes forward into room that was reserved for it.
    most_wire_bytes: a longer frame was never on the wire; counted as JOINED.
    Format: Documentation/networking/packet_mmap.rst and linux/if_packet.h.
    """
    found = 0
    frames = np.int64(words[block // 4 + BLOCK_PACKETS])
    at = block + np.int64(words[block // 4 + BLOCK_FIRST])
    for _ in range(frames):
        word = at // 4
        status = np.int64(words[word + _STATUS])
        if leave_outgoing and octets[at + _PACKET_TYPE] == _OUTGOING:
            tally[LEFT_OUT] += 1
        else:
            begin = at + np.int64(halves[at // 2 + _FRAME_AT])
            length = np.int64(words[word + _CAPTURED])
            whole = np.int64(words[word + _WIRE])
            if whole > most_wire_bytes or status & _GSO:
                tally[JOINED] += 1
            if status & _TAG_VALID and link_type == 1 and length >= 12:
                kind = np.int64(halves[at // 2 + _TAG_TYPE]) if status & _TAG_TYPE_VALID else _DOT1Q
                tag = np.int64(words[word + _TAG])
                begin -= 4
                for i in range(12):
                    octets[begin + i] = octets[begin + 4 + i]
                octets[begin + 12] = kind >> 8
                octets[begin + 13] = kind & 0xFF
                octets[begin + 14] = (tag >> 8) & 0xFF
                octets[begin + 15] = tag & 0xFF
                length += 4
                whole += 4
                tally[TAGGED] += 1
            offsets[found] = begin
            captured[found] = length
            wire[found] = whole if whole > length else length
            times[found] = np.int64(words[word + _SECONDS]) * 1_000_000_000 + np.int64(words[word + _NANOSECONDS])
            links[found] = link_type
            found += 1
        at += np.int64(words[word + _NEXT])
    tally[HEARD] += found
    return found
