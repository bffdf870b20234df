"""Community ID v1: the flow hash that Zeek, Suricata and others share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.flows.headers import Bytes
from kshot.flows.layout import int64
from kshot.jit import njit_part

# The hash: github.com/corelight/community-id-spec.

TEXT_BYTES = 30
"""Always "1:" and 28 characters of base64."""
LANES = 16
"""Flows hashed at once: a round of SHA-1 then is a few vector instructions for all of them."""
LANE_WORDS = 85 * LANES
"""Scratch: 80 words of message schedule, then 5 of state, each for all lanes."""

Lanes = NDArray[np.uint32]

_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8).copy()
_STATE = 80
_BEGIN = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_M32 = 0xFFFFFFFF


@njit_part
def put_endpoints(
    lanes: Lanes,
    lane: int,
    orig_high: int,
    orig_low: int,
    resp_high: int,
    resp_low: int,
    version6: bool,
    protocol: int,
    orig_port: int,
    resp_port: int,
    one_way: bool,
) -> None:
    """Put what the ID of a flow is the hash of (seed 0) into one lane, padded to SHA-1's block.

    Ports enter for TCP, UDP, ICMP, ICMPv6 and SCTP only, those of ICMP as type and the type that answers it (or the
    code, and then `one_way`: the direction is kept).
    """
    swap = False
    if not one_way:
        # The order is that of the bytes; numbers above 2**63 are held as negative ones.
        a, b = (orig_high >> 1) & 0x7FFFFFFFFFFFFFFF, (resp_high >> 1) & 0x7FFFFFFFFFFFFFFF
        if a == b:
            a, b = orig_high & 1, resp_high & 1
        if a == b:
            a, b = (orig_low >> 1) & 0x7FFFFFFFFFFFFFFF, (resp_low >> 1) & 0x7FFFFFFFFFFFFFFF
        if a == b:
            a, b = orig_low & 1, resp_low & 1
        swap = a > b or (a == b and orig_port > resp_port)
    if swap:
        orig_high, orig_low, resp_high, resp_low = resp_high, resp_low, orig_high, orig_low
        orig_port, resp_port = resp_port, orig_port
    for i in range(16):
        lanes[i * LANES + lane] = 0
    # Two bytes of seed shift everything by half a word.
    carried = int64(0)
    at = lane
    for end in range(2):
        high, low = (resp_high, resp_low) if end else (orig_high, orig_low)
        if version6:
            for word in ((high >> 32) & _M32, high & _M32, (low >> 32) & _M32):
                lanes[at] = (carried << 16) | (word >> 16)
                carried = word & 0xFFFF
                at += LANES
        lanes[at] = (carried << 16) | ((low >> 16) & 0xFFFF)
        carried = low & 0xFFFF
        at += LANES
    lanes[at] = (carried << 16) | (protocol << 8)
    at += LANES
    size = 34 + 2 if version6 else 12
    if protocol == 6 or protocol == 17 or protocol == 1 or protocol == 58 or protocol == 132:
        lanes[at] = (orig_port << 16) | resp_port
        at += LANES
        size += 4
    lanes[at] = 0x80000000
    lanes[15 * LANES + lane] = size * 8


@njit_part
def hash_lanes(v: Lanes) -> None:
    """SHA-1 (FIPS 180-4) of one block in every lane; what lies in v[: 16 * LANES] becomes the state at the end of v.

    One array for all, so that the compiler sees that nothing overlaps.
    """
    for i in range(16 * LANES, 80 * LANES):
        word = v[i - 3 * LANES] ^ v[i - 8 * LANES] ^ v[i - 14 * LANES] ^ v[i - 16 * LANES]
        v[i] = (word << np.uint32(1)) | (word >> np.uint32(31))
    for i in range(5):
        for lane in range(LANES):
            v[(_STATE + i) * LANES + lane] = _BEGIN[i]
    for quarter in range(4):
        constant = np.uint32((0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)[quarter])
        for i in range(20 * quarter, 20 * quarter + 20):
            for lane in range(LANES):
                at = _STATE * LANES + lane
                a, b, c, d, e = v[at], v[at + LANES], v[at + 2 * LANES], v[at + 3 * LANES], v[at + 4 * LANES]
                if quarter == 0:
                    mixed = d ^ (b & (c ^ d))
                elif quarter == 2:
                    mixed = (b & c) | (d & (b | c))
                else:
                    mixed = b ^ c ^ d
                turned = (a << np.uint32(5)) | (a >> np.uint32(27))
                v[at + 4 * LANES] = d
                v[at + 3 * LANES] = c
                v[at + 2 * LANES] = (b << np.uint32(30)) | (b >> np.uint32(2))
                v[at + LANES] = a
                v[at] = (int64(turned) + int64(mixed) + int64(e) + int64(constant) + int64(v[i * LANES + lane])) & _M32
    for i in range(5):
        for lane in range(LANES):
            at = (_STATE + i) * LANES + lane
            v[at] = (int64(v[at]) + _BEGIN[i]) & _M32


@njit_part
def write_community_id(text: Bytes, to: int, lanes: Lanes, lane: int) -> None:
    """Write the ID of a hashed lane to `text[to]`, 30 bytes."""
    text[to] = 49
    text[to + 1] = 58
    at = _STATE * LANES + lane
    to += 2
    held = int64(0)
    bits = 0
    # 160 bits and two of padding: 27 characters, and one more of padding.
    for i in range(5):
        held = (held << 32) | int64(lanes[at + i * LANES])
        bits += 32
        while bits >= 6:
            bits -= 6
            text[to] = _ALPHABET[(held >> bits) & 63]
            to += 1
        held &= 63
    text[to] = _ALPHABET[(held << 2) & 63]
    text[to + 1] = 61
