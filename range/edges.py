"""A run as a tap sees it that comes late or hears one direction only: long channels are older than most captures."""

from __future__ import annotations

import ipaddress
import struct
import tomllib
from pathlib import Path

LATE_SHARE = 0.5
"""Of a run that is over when the late tap begins."""
_HEAD = struct.Struct("<IIII")
_SOURCE = _HEAD.size + 26
"""From a packet's header in the file to its IPv4 source, in an Ethernet frame."""


def capture_of(run: Path) -> Path:
    """The capture of a run's folder; for `FOLDER:late` and `FOLDER:one-way` cut so, once, into the folder."""
    name, _, way = run.name.partition(":")
    folder = run.with_name(name)
    if not way:
        return folder / "capture.pcap"
    out = folder / f"{way}.pcap"
    if not out.exists():
        data = (folder / "capture.pcap").read_bytes()
        packets = _late(data) if way == "late" else _one_way(data, folder)
        out.write_bytes(data[:24] + b"".join(data[start:end] for start, end in packets))
    return out


def _late(data: bytes) -> list[tuple[int, int]]:
    """The latter part: of what is in it, nobody saw some connections begin."""
    packets = _packets(data)
    seconds = [_HEAD.unpack_from(data, start)[0] for start, _ in packets]
    begin = seconds[0] + LATE_SHARE * (seconds[-1] - seconds[0])
    return [packet for packet, second in zip(packets, seconds, strict=True) if second >= begin]


def _one_way(data: bytes, folder: Path) -> list[tuple[int, int]]:
    """What users and machines send, and nothing that is sent to them."""
    prefixes = tomllib.loads((folder / "scenario.toml").read_text())["plan"]["prefixes"]
    heads = {ipaddress.ip_network(prefixes[name]).network_address.packed[:3] for name in ("people", "machines")}
    return [(start, end) for start, end in _packets(data) if data[start + _SOURCE : start + _SOURCE + 3] in heads]


def _packets(data: bytes) -> list[tuple[int, int]]:
    """Where each packet, its header included, begins and ends in a pcap file as tcpdump writes it here."""
    packets, at = [], 24
    while at + _HEAD.size <= len(data):
        end = at + _HEAD.size + _HEAD.unpack_from(data, at)[2]
        packets.append((at, end))
        at = end
    return packets
