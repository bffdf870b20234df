"""Community ID v1: the flow hash that Zeek, Suricata and others share (github.com/corelight/community-id-spec)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.flows.decode import Bytes
from kshot.flows.layout import int64
from kshot.jit import njit_bare, read_be32

TEXT_BYTES = 30
"""Always "1:" and 28 characters of base64."""

_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8).copy()
_M32 = 0xFFFFFFFF


@njit_bare
def sha1_block(scratch: Bytes, schedule: NDArray[np.uint32]) -> None:
    """SHA-1 (FIPS 180-4) of the padded block scratch[:64] into scratch[64:84]. schedule: 80 words of scratch."""
    for i in range(16):
        schedule[i] = read_be32(scratch, 4 * i)
    for i in range(16, 80):
        word = int64(schedule[i - 3] ^ schedule[i - 8] ^ schedule[i - 14] ^ schedule[i - 16])
        schedule[i] = ((word << 1) | (word >> 31)) & _M32
    a, b, c, d, e = (
        int64(0x67452301),
        int64(0xEFCDAB89),
        int64(0x98BADCFE),
        int64(0x10325476),
        int64(0xC3D2E1F0),
    )
    # Every number below stays under 2**32, and is held as one: the compiler then turns each rotation into one step.
    for i in range(80):
        if i < 20:
            mixed = (d ^ (b & (c ^ d))) + 0x5A827999
        elif i < 40:
            mixed = (b ^ c ^ d) + 0x6ED9EBA1
        elif i < 60:
            mixed = ((b & c) | (d & (b | c))) + 0x8F1BBCDC
        else:
            mixed = (b ^ c ^ d) + 0xCA62C1D6
        turned = ((a << 5) | (a >> 27)) & _M32
        fresh = (turned + mixed + e + int64(schedule[i])) & _M32
        e = d
        d = c
        c = ((b << 30) | (b >> 2)) & _M32
        b = a
        a = fresh
    state = (
        (a + 0x67452301) & _M32,
        (b + 0xEFCDAB89) & _M32,
        (c + 0x98BADCFE) & _M32,
        (d + 0x10325476) & _M32,
        (e + 0xC3D2E1F0) & _M32,
    )
    for i in range(5):
        for j in range(4):
            scratch[64 + 4 * i + j] = (state[i] >> (24 - 8 * j)) & 255


@njit_bare
def write_community_id(
    text: Bytes,
    row: int,
    to: int,
    scratch: Bytes,
    schedule: NDArray[np.uint32],
    raw: Bytes,
    version6: bool,
    protocol: int,
    orig_port: int,
    resp_port: int,
    one_way: bool,
) -> None:
    """Write the community ID (seed 0) of a flow to `text[row, to]`, 30 bytes.

    raw: (32,) originator's and responder's address, IPv4 in the last four bytes of each. Ports enter
    for TCP, UDP, ICMP, ICMPv6 and SCTP only, those of ICMP as type and the type that answers it (or the code, and
    then `one_way`: the direction is kept).
    scratch: (84,) bytes; schedule: (80,).
    """
    begin = 0 if version6 else 12
    swap = False
    if not one_way:
        order = 0
        for i in range(begin, 16):
            if raw[i] != raw[16 + i]:
                order = 1 if raw[i] > raw[16 + i] else -1
                break
        swap = order > 0 or (order == 0 and orig_port > resp_port)
    for i in range(64):
        scratch[i] = 0
    at = 2
    for i in range(begin, 16):
        scratch[at] = raw[16 + i] if swap else raw[i]
        scratch[at + 16 - begin] = raw[i] if swap else raw[16 + i]
        at += 1
    at += 16 - begin
    scratch[at] = protocol
    at += 2
    if protocol == 6 or protocol == 17 or protocol == 1 or protocol == 58 or protocol == 132:
        low = resp_port if swap else orig_port
        high = orig_port if swap else resp_port
        scratch[at] = low >> 8
        scratch[at + 1] = low & 255
        scratch[at + 2] = high >> 8
        scratch[at + 3] = high & 255
        at += 4
    scratch[at] = 0x80
    scratch[62] = (at * 8) >> 8
    scratch[63] = (at * 8) & 255
    sha1_block(scratch, schedule)
    text[row, to] = 49
    text[row, to + 1] = 58
    for i in range(7):
        at = 64 + 3 * i
        value = (int64(scratch[at]) << 16) | (int64(scratch[at + 1]) << 8)
        if i < 6:
            value |= int64(scratch[at + 2])
        for j in range(4):
            text[row, to + 2 + 4 * i + j] = _ALPHABET[(value >> (18 - 6 * j)) & 63]
    text[row, to + 29] = 61
