"""Compile every kernel once, by running the pipeline on a handful of frames that are made here."""

from __future__ import annotations

import gc
import struct
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from kshot.flows import FlowMeter
from kshot.records.frames import FrameBatch
from kshot.stream.metering import MeterOptions

_PACKETS = 240


def warm() -> int:
    """Run captures of both formats through the whole pipeline; returns how many flows that gave."""
    # The compiler makes millions of small objects and hardly a cycle: looking for garbage took an eighth of its time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _run_pipeline()
    finally:
        if collecting:
            gc.enable()


def _run_pipeline() -> int:
    from kshot.records.threats import Threat
    from kshot.stream.pipeline import ScanOptions, read_records, scan

    with tempfile.TemporaryDirectory(prefix="kshot-warm-") as folder:
        paths = [Path(folder, "warm.pcap"), Path(folder, "warm.pcapng")]
        paths[0].write_bytes(_pcap(_frames()))
        paths[1].write_bytes(_pcapng(_frames()))
        for path in paths:
            records = read_records([path], MeterOptions())
    from kshot.features import fingerprint

    threat = Threat("warm", records.features.head(3), "flow", fingerprint())
    scan(records, [threat], options=ScanOptions(unknown=True))
    return len(records)


def made_flows() -> pl.DataFrame:
    """A few hundred flows that nobody sent, to run the stages on before the first ones come."""
    frames = _frames()
    sizes = np.array([len(frame) for frame in frames], np.int32)
    ends = np.cumsum(sizes, dtype=np.int64)
    times = np.arange(len(frames)) * 1_000_000
    links = np.ones(len(frames), np.int32)
    meter = FlowMeter()
    meter.push(FrameBatch(np.frombuffer(b"".join(frames), np.uint8), ends - sizes, sizes, sizes, times, links))
    meter.look()
    return pl.concat(list(meter.finish()))


def _frames() -> list[bytes]:
    """DNS-like questions from many ports, and the handshake of a TCP connection with a few bytes."""
    frames = []
    for number in range(_PACKETS // 2):
        payload = bytes([number & 0xFF, 7]) * (6 + number % 9)
        datagram = struct.pack(">HHHH", 40_000 + number, 53, 8 + len(payload), 0) + payload
        frames.append(_ethernet(17, number % 7, datagram))
    for number in range(_PACKETS // 2):
        flags = (0x02, 0x12, 0x10, 0x18, 0x18, 0x11)[number % 6]
        segment = struct.pack(">HHIIBBHHH", 50_000 + number // 6, 443, number, 0, 5 << 4, flags, 64_240, 0, 0)
        frames.append(_ethernet(6, 3, segment + (b"x" * (number % 50) if flags & 8 else b"")))
    return frames


def _ethernet(protocol: int, host: int, payload: bytes) -> bytes:
    # RFC 5737's documentation addresses.
    header = struct.pack(
        ">BBHHHBBH4s4s",
        0x45,
        0,
        20 + len(payload),
        0,
        0,
        64,
        protocol,
        0,
        bytes((192, 0, 2, host)),
        bytes((198, 51, 100, 1)),
    )
    return bytes(12) + b"\x08\x00" + header + payload


def _pcap(frames: list[bytes]) -> bytes:
    records = (struct.pack("<IIII", second, 0, len(frame), len(frame)) + frame for second, frame in enumerate(frames))
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1) + b"".join(records)


def _pcapng(frames: list[bytes]) -> bytes:
    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))

    blocks = [
        block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)),
        block(1, struct.pack("<HHI", 1, 0, 65_535)),
    ]
    for second, frame in enumerate(frames):
        ticks = second * 1_000_000
        head = struct.pack("<IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
        blocks.append(block(6, head + frame))
    return b"".join(blocks)
