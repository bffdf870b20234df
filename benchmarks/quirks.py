"""Finds the frames on which flow meters differ by policy: fragments, tunnels, cut or odd headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

CAUSES = (
    "IP fragments: NFStream leaves them out; tshark counts a datagram once, where it is whole",
    "802.1ad tags (0x88a8): NFStream leaves these frames out",
    "IPv6 frames cut by the snap length: NFStream leaves them out",
    "a tunnel (GRE, IP in IP, VXLAN, GTP-U, Teredo, L2TP, MPLS, PPPoE)",
    "a total length of zero (segmentation offload) or beyond the frame",
    "cut by the snap length before the ports",
    "IPv6 extension headers",
    "an EtherType that is not IP's: NFStream reads on as if it were",
    "ICMP errors quote the packet they are about",
)
"""In the order in which they are blamed if a pair of hosts shows several."""
FRAGMENT, QINQ, CUT6, TUNNEL, LENGTH, CUT, EXTENSION, ETHERTYPE, ICMP = range(len(CAUSES))
_TUNNEL_PORTS = {2152, 2123, 4789, 3544, 1701, 8472, 6081}


def quirks_of(capture: Path, *, for_nfstream: bool) -> pl.DataFrame:
    """Columns `pair` ("low high", two addresses) and `cause`, one row for every pair of hosts with an odd frame."""
    # What the one tool reads as everybody does explains nothing about it.
    innocent = {ICMP} if for_nfstream else {QINQ, CUT6, ETHERTYPE}
    from kshot.sources.pcap import CaptureReader

    worst: dict[str, int] = {}
    for batch in CaptureReader(capture):
        data, offsets, captured = batch.buffer, batch.offsets, batch.captured_bytes
        long = captured >= 38
        at = np.where(long, offsets, offsets[0])
        kind = data[at + 12].astype(np.int64) << 8 | data[at + 13]
        total = data[at + 16].astype(np.int64) << 8 | data[at + 17]
        fragment = (data[at + 20].astype(np.int64) << 8 | data[at + 21]) & 0x3FFF
        protocol = data[at + 23]
        ports = np.stack([data[at + p].astype(np.int64) << 8 | data[at + p + 1] for p in (34, 36)])
        plain = (
            long
            & (kind == 0x0800)
            & (data[at + 14] == 0x45)
            & (fragment == 0)
            & (total > 0)
            & (total + 14 <= batch.wire_bytes)
            & ((protocol == 6) | ((protocol == 17) & ~np.isin(ports, list(_TUNNEL_PORTS)).any(axis=0)))
        )
        for index in np.flatnonzero(~plain):
            start = int(offsets[index])
            frame = data[start : start + int(captured[index])].tobytes()
            for pair, cause in _explain(frame, int(batch.wire_bytes[index])):
                if cause not in innocent:
                    worst[pair] = min(worst.get(pair, len(CAUSES)), cause)
    rows = [(pair, CAUSES[cause]) for pair, cause in worst.items()]
    return pl.DataFrame(rows, schema={"pair": pl.String, "cause": pl.String}, orient="row")


def _explain(frame: bytes, wire: int) -> Iterator[tuple[str, int]]:
    """Pairs of hosts in `frame`, outer and inner, with what is odd about each."""
    at, kind, blame = 12, 0, -1
    while at + 2 <= len(frame):
        kind = int.from_bytes(frame[at : at + 2])
        at += 2
        if kind == 0x88A8:
            blame = QINQ
        if kind not in (0x8100, 0x88A8, 0x9100):
            break
        at += 2
    if kind == 0x8864:
        at, blame = at + 8, TUNNEL
    elif kind == 0x8847:
        while at + 4 <= len(frame) and not frame[at + 2] & 1:
            at += 4
        at, blame = at + 4, TUNNEL
    elif kind not in (0x0800, 0x86DD):
        blame = ETHERTYPE
    yield from _explain_ip(frame[at:], wire - at, blame, 0)


def _explain_ip(packet: bytes, wire: int, blame: int, depth: int) -> Iterator[tuple[str, int]]:
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        ends = (ipaddress.ip_address(packet[12:16]), ipaddress.ip_address(packet[16:20]))
        total, protocol, at = int.from_bytes(packet[2:4]), packet[9], 4 * (packet[0] & 15)
        fragment = int.from_bytes(packet[6:8]) & 0x3FFF
    elif version == 6 and len(packet) >= 40:
        ends = (ipaddress.ip_address(packet[8:24]), ipaddress.ip_address(packet[24:40]))
        total, protocol, at, fragment = int.from_bytes(packet[4:6]) + 40, packet[6], 40, 0
        total = 0 if total == 40 and protocol != 59 else total
        while protocol in (0, 43, 44, 51, 60) and at + 8 <= len(packet):
            blame = EXTENSION if blame < 0 else blame
            fragment = 1 if protocol == 44 else fragment
            size = 8 if protocol == 44 else 4 * packet[at + 1] + 8 if protocol == 51 else 8 * packet[at + 1] + 8
            protocol, at = packet[at], at + size
    else:
        return
    if version == 6 and blame < 0 and len(packet) < wire:
        blame = CUT6
    pair = " ".join(sorted((str(ends[0]), str(ends[1]))))
    inner = packet[at:]
    ports = {int.from_bytes(inner[0:2]), int.from_bytes(inner[2:4])} if protocol == 17 else set()
    tunnelled = protocol in (4, 41, 47, 115) or bool(ports & _TUNNEL_PORTS)
    if fragment:
        blame = FRAGMENT
    elif tunnelled or depth:
        blame = TUNNEL
    elif blame < 0 and (total == 0 or total > wire):
        blame = LENGTH
    elif blame < 0 and len(inner) < 4 and total > at:
        blame = CUT
    if blame >= 0:
        yield pair, blame
    if protocol in (1, 58) and len(inner) > 8 and inner[0] in (1, 2, 3, 4, 5, 11, 12):
        for quoted, _ in _explain_ip(inner[8:], wire, ICMP, depth):
            yield quoted, ICMP
    if tunnelled and depth < 4:
        for skip in range(0, min(64, len(inner) - 20), 2):  # wherever an IP header shows itself
            if inner[skip] >> 4 in (4, 6) and inner[skip] & 15 in (0, 5):
                yield from _explain_ip(inner[skip:], wire, TUNNEL, depth + 1)
