"""Families of inputs whose cost might grow faster than their size: fragments, nesting, floods."""

from __future__ import annotations

import struct
from collections.abc import Callable

from benchmarks.load import (
    START_SECONDS,
    Frame,
    block,
    enhanced,
    ethernet,
    interface,
    ipv4,
    options,
    pcap,
    section,
    syn_flood,
    tcp,
    udp,
)


def _timed(packets: list[bytes]) -> bytes:
    start = START_SECONDS * 1_000_000_000
    return pcap(Frame(packet, start + i * 1000) for i, packet in enumerate(packets))


def _fragments(n: int) -> bytes:
    """First and later fragments that are never completed, of as many datagrams."""
    parts = []
    for i in range(n):
        more, where = (0x2000, udp(53, i & 0xFFFF, bytes(16))) if i % 2 == 0 else (0x2003, bytes(24))
        parts.append(
            ethernet(ipv4(17, 0x0A000001 + (i >> 17), 0x0A000002, where, fragment=more, identifier=i >> 1 & 0xFFFF))
        )
    return _timed(parts)


def _later_fragments(n: int) -> bytes:
    """Later fragments alone, whose first never comes."""
    return _timed(
        [ethernet(ipv4(17, 0x0A000001 + i, 9, bytes(24), fragment=0x2003, identifier=i & 0xFFFF)) for i in range(n)]
    )


def _tunnels(n: int) -> bytes:
    """IP in IP in IP, 1,500 deep."""
    shell = b"".join(ipv4(4, 1, 2, bytes(20 * (1500 - level - 1)))[:20] for level in range(1500))
    return _timed([ethernet(shell)] * (n // 100))


def _gre(n: int) -> bytes:
    """GRE in GRE, 900 deep."""
    shell = b"".join(ipv4(47, 1, 2, bytes(24 * (900 - level) - 20))[:20] + b"\0\0\x08\0" for level in range(900))
    return _timed([ethernet(shell)] * (n // 100))


def _vlan_tags(n: int) -> bytes:
    """VLAN tags, 300 of them."""
    return _timed([ethernet(struct.pack(">HH", 1, 0x8100) * 300, 0x8100)] * (n // 20))


def _mpls_labels(n: int) -> bytes:
    """MPLS labels without a bottom, 350 of them."""
    return _timed([ethernet(b"\0\0\x10\x40" * 350, 0x8847)] * (n // 20))


def _extension_headers(n: int) -> bytes:
    """IPv6 destination options, 180 of them in a chain."""
    head = struct.pack(">IHBB", 0x60000000, 8 * 180, 60, 64) + bytes(32)
    return _timed([ethernet(head + (b"\x3c\0\1\4" + bytes(4)) * 180, 0x86DD)] * (n // 20))


def _interface_options(n: int) -> bytes:
    """One interface with as many options, then a packet."""
    many = b"".join(options((1, b"abc"))[:8] for _ in range(200_000))
    blocks = [interface(extra=many), enhanced(b"x")] * max(n // 10_000, 1)
    return section() + b"".join(blocks)


def _packet_options(n: int) -> bytes:
    """Packets that carry a thousand options each."""
    many = options((1, b"abc"))[:8] * 1000
    return section() + interface() + enhanced(bytes(60), extra=many) * (n // 20)


def _interfaces(n: int) -> bytes:
    """Interfaces and nothing else."""
    return section() + interface() * n


def _sections(n: int) -> bytes:
    """Sections of one interface and one packet each."""
    return (section() + interface() + enhanced(bytes(60))) * n


def _unknown_blocks(n: int) -> bytes:
    """Empty blocks of no known type."""
    return section() + interface() + block(0x0BAD, b"") * (4 * n)


def _empty_packets(n: int) -> bytes:
    return pcap([]) + bytes(16 * 4 * n)


def _one_flow(n: int) -> bytes:
    return _timed([ethernet(ipv4(6, 1, 2, tcp(1, 2, 0x10, bytes(10))))] * n)


def _flood(n: int) -> bytes:
    return syn_flood(n).tobytes()


FAMILIES: dict[str, Callable[[int], bytes]] = {
    "fragments": _fragments,
    "later fragments alone": _later_fragments,
    "IP in IP, 1,500 deep": _tunnels,
    "GRE, 900 deep": _gre,
    "VLAN tags, 300": _vlan_tags,
    "MPLS labels, 350": _mpls_labels,
    "IPv6 extension headers, 180": _extension_headers,
    "pcapng interface options": _interface_options,
    "pcapng packet options": _packet_options,
    "pcapng interfaces": _interfaces,
    "pcapng sections": _sections,
    "pcapng unknown blocks": _unknown_blocks,
    "empty packets": _empty_packets,
    "one flow": _one_flow,
    "SYN flood": _flood,
}
"""Inputs of a size that grows with n: doubling n must not much more than double the time."""
