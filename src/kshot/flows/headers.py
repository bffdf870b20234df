"""Link layers, tunnels and ICMP types around IP; and what may become of a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.flows.layout import int64
from kshot.jit import njit_part, read_be16, read_be32

Bytes = NDArray[np.uint8]
Words = NDArray[np.int64]

METERED, NON_IP, MALFORMED, TRUNCATED, SHED = range(5)
"""What becomes of a frame; every one gets exactly one of these.

metered: counted in a flow. non_ip: a sound frame that carries no IP (ARP, LLDP, 802.3 LLC, an EtherType or a link type
we do not read). truncated: the snap length (captured < wire) cut a header that the 5-tuple needs. malformed: a header
contradicts itself or its surroundings (IHL < 5, a length below its own header, no room on the wire for what must
follow, more layers than any sane packet has). shed: dropped by policy; reading files never sheds.
A frame whose tunnelled packet is not sane counts in the tunnel's own flow.
"""

ETHERNET, TYPE, RAW, IPV4, IPV6, PPP = range(6)
OUTSIDE = -1


@njit_part
def icmp_ports(version6: bool, kind: int, code: int) -> tuple[int, int, bool]:
    """(sender's port, receiver's port, one way) of an ICMP message, after the community ID spec and Zeek.

    A request and its reply get mirrored ports and so meet in one flow; all other messages stand alone.
    """
    if version6:
        if kind == 128 or kind == 130 or kind == 133 or kind == 135 or kind == 139 or kind == 144:
            return kind, kind + 1, False
        if kind == 129 or kind == 131 or kind == 134 or kind == 136 or kind == 140 or kind == 145:
            return kind, kind - 1, False
    else:
        if kind == 8:
            return 8, 0, False
        if kind == 0:
            return 0, 8, False
        if kind == 13 or kind == 15 or kind == 17:
            return kind, kind + 1, False
        if kind == 14 or kind == 16 or kind == 18:
            return kind, kind - 1, False
        if kind == 10:
            return 10, 9, False
        if kind == 9:
            return 9, 10, False
    return kind, code, True


@njit_part
def first_layer(buffer: Bytes, at: int, captured_end: int, wire_end: int, link: int) -> tuple[int, int, int]:
    """(layer, EtherType, where it begins) of a frame by its LINKTYPE; layer < 0: -1 - verdict."""
    if link == 1:
        return ETHERNET, 0, at
    if link == 101 or link == 12 or link == 14:
        return RAW, 0, at
    if link == 228:
        return IPV4, 0, at
    if link == 229:
        return IPV6, 0, at
    if link == 113:
        header = 16
    elif link == 276:
        header = 20
    elif link == 0 or link == 108:
        header = 4
    elif link == 9:
        return PPP, 0, at
    else:
        return -1 - NON_IP, 0, at
    if at + header > captured_end:
        return -1 - (TRUNCATED if at + header <= wire_end else MALFORMED), 0, at
    if link == 113:
        return TYPE, read_be16(buffer, at + 14), at + header
    if link == 276:
        return TYPE, read_be16(buffer, at), at + header
    # Loopback: the address family in the byte order of whoever captured (0) or of the network (108).
    family = read_be32(buffer, at)
    if family > 0xFFFF:
        family = (family >> 24) | ((family >> 8) & 0xFF00)
    if family == 2:
        return IPV4, 0, at + header
    if family == 24 or family == 28 or family == 30 or family == 10:
        return IPV6, 0, at + header
    return -1 - NON_IP, 0, at


@njit_part
def gre_payload(buffer: Bytes, at: int, captured_end: int) -> tuple[int, int, int]:
    """(layer, EtherType, where it begins) inside a GRE packet (RFC 2784, 2890, 2637, ERSPAN); layer < 0: no idea."""
    if at + 4 > captured_end:
        return OUTSIDE, 0, at
    flags = read_be16(buffer, at)
    kind = read_be16(buffer, at + 2)
    version = flags & 7
    inner = at + 4
    if flags & 0x4000 or version > 1:
        return OUTSIDE, 0, at
    if version == 1:
        inner += 4
    elif flags & 0x8000:
        inner += 4
    if flags & 0x2000 and version == 0:
        inner += 4
    if flags & 0x1000:
        inner += 4
    if version == 1:
        if flags & 0x0080:
            inner += 4
        return (PPP if kind == 0x880B else OUTSIDE), 0, inner
    if kind == 0x6558:
        return ETHERNET, 0, inner
    if kind == 0x88BE:
        return ETHERNET, 0, (inner + 8 if flags & 0x1000 else inner)
    if kind == 0x22EB:
        if inner + 12 > captured_end:
            return OUTSIDE, 0, at
        return ETHERNET, 0, inner + (20 if buffer[inner + 11] & 1 else 12)
    return TYPE, kind, inner


@njit_part
def gtpu_payload(buffer: Bytes, at: int, captured_end: int) -> int:
    """Where the IP packet inside a GTP-U datagram begins (3GPP TS 29.281, 5.1); -1: it carries none."""
    if at + 8 > captured_end or (buffer[at] & 0xF0) != 0x30 or buffer[at + 1] != 255:
        return -1
    flags = int64(buffer[at]) & 7
    at += 8
    if flags == 0:
        return at
    if at + 4 > captured_end:
        return -1
    extension = int64(buffer[at + 3]) if flags & 4 else int64(0)
    at += 4
    for _ in range(8):
        if extension == 0:
            return at
        if at + 1 > captured_end:
            return -1
        length = int64(buffer[at]) * 4
        if length == 0 or at + length > captured_end:
            return -1
        extension = int64(buffer[at + length - 1])
        at += length
    return -1
