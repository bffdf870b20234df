"""Small builders of frames and batches for the meter's tests."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from kshot.flows import FlowMeter
from kshot.records.frames import FrameBatch

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def raw(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def tcp(sport: int, dport: int, flags: int = ACK, payload: bytes = b"", window: int = 1000) -> bytes:
    return struct.pack(">HHIIBBHHH", sport, dport, 1, 1, 0x50, flags, window, 0, 0) + payload


def udp(sport: int, dport: int, payload: bytes = b"") -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload


def icmp(kind: int, code: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">BBHI", kind, code, 0, 0) + payload


def ip(
    source: str, target: str, protocol: int, payload: bytes, *, ttl: int = 64, fragment: int = 0, ident: int = 7
) -> bytes:
    """An IPv4 or IPv6 packet. fragment: IPv4's flags and offset."""
    a, b = raw(source), raw(target)
    if len(a) == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, ttl, protocol, 0)
    else:
        head = struct.pack(">IHBB", 6 << 28, len(payload), protocol, ttl)
    return head + a + b + payload


def ethernet(packet: bytes, *, tags: Sequence[tuple[int, int]] = (), kind: int | None = None) -> bytes:
    """An Ethernet frame; tags: (EtherType, VLAN id)."""
    if kind is None:
        kind = 0x86DD if packet[:1] and packet[0] >> 4 == 6 else 0x0800
    head = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02"
    for tag, vlan in tags:
        head += struct.pack(">HH", tag, vlan)
    return head + struct.pack(">H", kind) + packet


def batch(
    frames: Iterable[bytes],
    *,
    times: Sequence[float] | None = None,
    link: int = 1,
    snap: int | None = None,
    wire: Sequence[int] | None = None,
) -> FrameBatch:
    """Frames as a batch; times in seconds after START, a millisecond apart unless given."""
    frames = list(frames)
    kept = [frame[:snap] for frame in frames]
    buffer = np.frombuffer(b"".join(kept) + b"\xee" * 8, np.uint8).copy()
    captured = np.array([len(frame) for frame in kept], np.int32)
    offsets = np.concatenate([[0], np.cumsum(captured)[:-1]]).astype(np.int64) if kept else np.zeros(0, np.int64)
    moments = [0.001 * i for i in range(len(kept))] if times is None else times
    return FrameBatch(
        buffer=buffer,
        offsets=offsets,
        captured_bytes=captured,
        wire_bytes=np.array([len(frame) for frame in frames] if wire is None else wire, np.int32),
        times_nanoseconds=np.array([START + round(moment * SECOND) for moment in moments], np.int64),
        link_types=np.full(len(kept), link, np.int32),
    )


def metered(*batches: FrameBatch, **settings: float) -> pl.DataFrame:
    """All flows of the batches, and the accounting checked."""
    meter = FlowMeter(**{"memory_bytes": 2**20, **settings})  # type: ignore[arg-type]
    return drained(meter, batches)


def drained(meter: FlowMeter, batches: Iterable[FrameBatch]) -> pl.DataFrame:
    frames = []
    pushed = 0
    for one in batches:
        meter.push(one)
        pushed += len(one)
        frames.extend(meter.drain())
    frames.extend(meter.finish())
    counters = meter.counters
    assert counters.packets_read == pushed
    assert counters.packets_read == (
        counters.metered + counters.non_ip + counters.malformed + counters.truncated + counters.shed
    )
    flows = pl.concat(frames) if frames else pl.DataFrame()
    assert counters.flows == flows.height
    return flows


def conversation(*flags: tuple[str, int], port: int = 40000, service: int = 80, payload: bytes = b"") -> list[bytes]:
    """TCP segments between two fixed hosts: ("o" or "r", flags) each."""
    here, there = "10.0.0.1", "10.0.0.2"
    return [
        ethernet(ip(here, there, 6, tcp(port, service, bits, payload)))
        if who == "o"
        else ethernet(ip(there, here, 6, tcp(service, port, bits, payload)))
        for who, bits in flags
    ]
