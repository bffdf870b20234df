"""Builds captures byte by byte: containers with any quirk, plausible traffic, throughput loads."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT / "../shared"
"""Real data and the reference builder of loads, where they lie beside the checkout."""
START_SECONDS = 1_760_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame to write."""

    data: bytes
    nanoseconds: int = START_SECONDS * 1_000_000_000
    wire_bytes: int | None = None
    """As it was on the wire; None if `data` is all of it."""


def pcap(
    frames: Iterable[Frame],
    *,
    big: bool = False,
    nanoseconds: bool = False,
    link_type: int = 1,
    version: tuple[int, int] = (2, 4),
    patched: bool = False,
    snap_bytes: int = 262_144,
) -> bytes:
    """Make a classic pcap file; `patched` is Kuznetzov's record header of 24 bytes."""
    order = ">" if big else "<"
    magic = 0xA1B2CD34 if patched else 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    parts = [struct.pack(order + "IHHiIII", magic, *version, 0, 0, snap_bytes, link_type)]
    for frame in frames:
        wire = len(frame.data) if frame.wire_bytes is None else frame.wire_bytes
        lengths = (wire, len(frame.data)) if version < (2, 3) else (len(frame.data), wire)
        seconds, rest = divmod(frame.nanoseconds, 1_000_000_000)
        parts.append(struct.pack(order + "IIII", seconds, rest if nanoseconds else rest // 1000, *lengths))
        if patched:
            parts.append(struct.pack(order + "iHBx", 2, 0x0800, 0))
        parts.append(frame.data)
    return b"".join(parts)


def block(kind: int, body: bytes, *, big: bool = False) -> bytes:
    """Make a pcapng block around `body`, padded."""
    order = ">" if big else "<"
    body += bytes(-len(body) % 4)
    size = len(body) + 12
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def options(*pairs: tuple[int, bytes], big: bool = False) -> bytes:
    """Make a list of pcapng options, ended."""
    order = ">" if big else "<"
    parts = [struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in pairs]
    return b"".join(parts) + bytes(4)


def section(*, big: bool = False, version: tuple[int, int] = (1, 0), extra: bytes = b"") -> bytes:
    """Make a pcapng section header."""
    return block(0x0A0D0D0A, struct.pack((">" if big else "<") + "IHHq", 0x1A2B3C4D, *version, -1) + extra, big=big)


def interface(link_type: int = 1, snap_bytes: int = 0, extra: bytes = b"", *, big: bool = False) -> bytes:
    """Make a pcapng interface description; `extra` are its options."""
    return block(1, struct.pack((">" if big else "<") + "HHI", link_type, 0, snap_bytes) + extra, big=big)


def enhanced(
    data: bytes,
    ticks: int = 0,
    index: int = 0,
    *,
    big: bool = False,
    wire_bytes: int | None = None,
    captured: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """Make an enhanced packet block; `captured` lets it lie about its length."""
    wire = len(data) if wire_bytes is None else wire_bytes
    caught = len(data) if captured is None else captured
    head = struct.pack((">" if big else "<") + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, caught, wire)
    return block(6, head + data + bytes(-len(data) % 4) + extra, big=big)


def simple(data: bytes, *, big: bool = False, wire_bytes: int | None = None) -> bytes:
    """Make a simple packet block."""
    wire = len(data) if wire_bytes is None else wire_bytes
    return block(3, struct.pack((">" if big else "<") + "I", wire) + data, big=big)


def obsolete(data: bytes, ticks: int = 0, index: int = 0, *, big: bool = False) -> bytes:
    """Make a packet block, which enhanced packet blocks replaced."""
    order = ">" if big else "<"
    numbers = struct.pack(order + "HHIIII", index, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(2, numbers + data, big=big)


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ipv4(protocol: int, source: int, target: int, payload: bytes, *, fragment: int = 0, identifier: int = 0) -> bytes:
    """Make an IPv4 packet; `fragment` is the flags and offset field."""
    head = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(payload), identifier, fragment, 64, protocol, 0, source, target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def tcp(source_port: int, target_port: int, flags: int, payload: bytes = b"", sequence: int = 1) -> bytes:
    """Make a TCP segment without checksum, as a capturing host that offloads it sees it."""
    return struct.pack(">HHIIBBHHH", source_port, target_port, sequence, 0, 0x50, flags, 65535, 0, 0) + payload


def udp(source_port: int, target_port: int, payload: bytes = b"") -> bytes:
    """Make a UDP datagram without checksum."""
    return struct.pack(">HHHH", source_port, target_port, 8 + len(payload), 0) + payload


def ethernet(packet: bytes, kind: int = 0x0800) -> bytes:
    """Make an Ethernet frame."""
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01" + struct.pack(">H", kind) + packet


def conversation(generator: np.random.Generator, client: int, server: int, start_nanoseconds: int) -> list[Frame]:
    """One plausible conversation: DNS, or a TCP connection of a few requests."""
    port = int(generator.integers(1024, 65535))
    now = start_nanoseconds
    frames = []

    def send(forth: bool, protocol: int, payload: bytes) -> None:
        nonlocal now
        ends = (client, server) if forth else (server, client)
        frames.append(Frame(ethernet(ipv4(protocol, *ends, payload)), now))
        now += int(generator.exponential(2e7)) + 1000

    if generator.random() < 0.4:
        query = generator.bytes(int(generator.integers(20, 60)))
        send(True, 17, udp(port, 53, query))
        send(False, 17, udp(53, port, query + generator.bytes(int(generator.integers(16, 200)))))
        return frames
    service = int(generator.choice([22, 80, 443, 445, 8080]))
    for forth, flags in ((True, 0x02), (False, 0x12), (True, 0x10)):
        send(forth, 6, tcp(port if forth else service, service if forth else port, flags))
    for _ in range(int(generator.integers(1, 20))):
        send(True, 6, tcp(port, service, 0x18, generator.bytes(int(generator.integers(20, 600)))))
        for _ in range(int(generator.integers(1, 6))):
            send(False, 6, tcp(service, port, 0x18, generator.bytes(int(generator.integers(100, 1400)))))
    for forth in (True, False):
        send(forth, 6, tcp(port if forth else service, service if forth else port, 0x11))
    return frames


def traffic(conversations: int, seed: int, seconds: float = 300.0, network: int = 0x0A000000) -> list[Frame]:
    """Make plausible traffic of some hosts of `network` (a /15) with some of its servers, in order of time."""
    generator = np.random.default_rng(seed)
    frames: list[Frame] = []
    for _ in range(conversations):
        client = network + int(generator.integers(1, 250))
        server = network + 0x10000 + int(generator.integers(1, 50))
        start = START_SECONDS * 1_000_000_000 + int(generator.uniform(0, seconds) * 1e9)
        frames += conversation(generator, client, server, start)
    return sorted(frames, key=lambda frame: frame.nanoseconds)


def syn_flood(packets: int, seed: int = 5, seconds: float = 100.0) -> NDArray[np.uint8]:
    """Make a pcap file of `packets` SYNs, each a flow of its own, as one array of bytes."""
    generator = np.random.default_rng(seed)
    record = Frame(ethernet(ipv4(6, 0, 0x0A280001, tcp(0, 80, 2))).ljust(60, b"\0"))
    head = np.frombuffer(pcap([]), np.uint8)
    rows = np.tile(np.frombuffer(pcap([record])[24:], np.uint8), (packets, 1))
    times = np.sort(generator.uniform(0, seconds, packets))
    rows[:, 0:4] = (START_SECONDS + times).astype("<u4").view(np.uint8).reshape(-1, 4)
    rows[:, 4:8] = (times % 1 * 1e6).astype("<u4").view(np.uint8).reshape(-1, 4)
    rows[:, 42:46] = generator.integers(1, 223, (packets, 4))
    rows[:, 50:52] = generator.integers(0, 256, (packets, 2))
    return np.concatenate([head, rows.reshape(-1)])


_DOWNLOAD = (
    # (from the client, flags, payload bytes) of each packet: a request, its answer, another, and the end.
    *((True, 0x02, 0), (False, 0x12, 0), (True, 0x10, 0), (True, 0x18, 180), (False, 0x10, 0)),
    *((False, 0x10, 1448), (False, 0x10, 1448), (True, 0x10, 0), (False, 0x10, 1448), (False, 0x18, 900)),
    *((True, 0x10, 0), (True, 0x18, 260), (False, 0x10, 1448), (False, 0x10, 1448), (True, 0x10, 0)),
    *((False, 0x18, 1100), (True, 0x10, 0), (True, 0x11, 0), (False, 0x11, 0), (True, 0x10, 0)),
)


def downloads(path: Path, rounds: int = 6, at_once: int = 16_384, seed: int = 7) -> None:
    """Write a capture of `rounds` times `at_once` TCP connections of 20 packets each, which take strict turns.

    Harder than traffic of the same packets a flow: no packet follows another of its own flow, so that none finds its
    flow in the processor's nearest cache.
    """
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(pcap([]))
        microseconds = START_SECONDS * 1_000_000
        for _ in range(rounds):
            # RFC 1918's 10/8: clients in the lower half, servers in the upper.
            clients = (0x0A000000 + generator.permutation(1 << 20)[:at_once]).astype(">u4").view(np.uint8)
            servers = (0x0A800000 + generator.integers(0, 4096, at_once)).astype(">u4").view(np.uint8)
            ports = generator.integers(1024, 65_536, at_once).astype(">u2").view(np.uint8)
            for forth, flags, size in _DOWNLOAD:
                segment = (
                    tcp(0, 443, flags, generator.bytes(size)) if forth else tcp(443, 0, flags, generator.bytes(size))
                )
                record = pcap([Frame(ethernet(ipv4(6, 0, 0, segment)))])[24:]
                rows = np.tile(np.frombuffer(record, np.uint8), (at_once, 1))
                times = microseconds + 15 * np.arange(at_once)
                microseconds += 15 * at_once
                rows[:, 0:4] = (times // 1_000_000).astype("<u4").view(np.uint8).reshape(-1, 4)
                rows[:, 4:8] = (times % 1_000_000).astype("<u4").view(np.uint8).reshape(-1, 4)
                # After the record header of 16 and the Ethernet header of 14 bytes.
                rows[:, 42:46] = (clients if forth else servers).reshape(-1, 4)
                rows[:, 46:50] = (servers if forth else clients).reshape(-1, 4)
                rows[:, 50 if forth else 52 : 52 if forth else 54] = ports.reshape(-1, 2)
                rows.tofile(file)


def build_dense(folder: Path) -> Path:
    """Write dense.pcap, 1.97 M packets in 98,304 flows, into `folder` unless it is there."""
    dense = folder / "dense.pcap"
    if not dense.exists():
        folder.mkdir(parents=True, exist_ok=True)
        downloads(dense.with_suffix(".part"))
        dense.with_suffix(".part").rename(dense)
    return dense


def build_loads(folder: Path, copies: int = 4) -> tuple[Path, Path, str]:
    """Write mix.pcap and flood.pcap into `folder` unless they are there; return both and a word on their making."""
    mix, flood = folder / "mix.pcap", folder / "flood.pcap"
    script = SHARED / "evaluate/build_load.py"
    made = f"shared/evaluate/build_load.py, {copies} copies" if script.exists() else "benchmarks/load.py, synthetic"
    note = folder / "made.txt"
    if mix.exists() and flood.exists() and note.exists() and note.read_text() == made:
        return mix, flood, made
    folder.mkdir(parents=True, exist_ok=True)
    if script.exists():
        subprocess.run([sys.executable, str(script), str(folder), str(copies)], check=True, stdout=sys.stderr)
    else:
        _synthetic_mix(mix, copies)
        syn_flood(1_000_000).tofile(flood)
    note.write_text(made)
    return mix, flood, made


def _synthetic_mix(path: Path, copies: int) -> None:
    with path.open("wb") as file:
        file.write(pcap([]))
        # About 250,000 packets a copy, written a slice of time after the other.
        for part in range(2 * copies):
            later = part * 150 * 1_000_000_000
            frames: Sequence[Frame] = traffic(3_000, seed=part, seconds=150)
            file.write(pcap(Frame(frame.data, frame.nanoseconds + later) for frame in frames)[24:])
