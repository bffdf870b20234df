"""Streams unpacked on the way: by magic, in small pieces, cut ones to their last byte, bombs refused."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from benchmarks.load import pcap, section, traffic

from kshot.errors import InputError
from kshot.sources.compressed import BOMB_OUTPUT_BYTES, ByteStream, compression_of
from kshot.sources.pcap import CaptureReader

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
CAPTURE = pcap(traffic(60, seed=3), nanoseconds=True)


def unpack(path: Path, piece_bytes: int = 50_000) -> tuple[bytes, ByteStream]:
    parts = []
    into = bytearray(piece_bytes)
    with ByteStream(path) as stream:
        while count := stream.readinto(memoryview(into)):
            parts.append(bytes(into[:count]))
    return b"".join(parts), stream


def write(folder: Path, data: bytes) -> Path:
    path = folder / "named.anything"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", PACKERS)
def test_each_packing_is_known_by_its_magic(tmp_path: Path, kind: str) -> None:
    packed = PACKERS[kind](CAPTURE)
    assert compression_of(packed[:6]) == kind
    plain, stream = unpack(write(tmp_path, packed))
    assert (plain, stream.compression, stream.damage) == (CAPTURE, kind, None)
    assert stream.consumed_bytes == stream.size_bytes == len(packed)
    assert stream.produced_bytes == len(CAPTURE)


@pytest.mark.parametrize("kind", PACKERS)
def test_joined_members_are_one_stream(tmp_path: Path, kind: str) -> None:
    parts = [CAPTURE[:100], CAPTURE[100:200_000], b"", CAPTURE[200_000:]]
    plain, stream = unpack(write(tmp_path, b"".join(PACKERS[kind](part) for part in parts)), 777)
    assert (plain, stream.damage) == (CAPTURE, None)


@pytest.mark.parametrize("kind", PACKERS)
def test_a_cut_stream_gives_what_came_before_and_says_so(tmp_path: Path, kind: str) -> None:
    packed = PACKERS[kind](CAPTURE)
    plain, stream = unpack(write(tmp_path, packed[: len(packed) * 3 // 4]))
    assert CAPTURE.startswith(plain)
    assert stream.damage is not None and "cut" in stream.damage
    if kind != "bzip2":  # whose blocks of 900 kB come whole or not at all
        assert len(plain) > len(CAPTURE) // 2


@pytest.mark.parametrize("kind", PACKERS)
def test_a_cut_or_broken_capture_keeps_its_packets(tmp_path: Path, kind: str) -> None:
    packed = PACKERS[kind](CAPTURE * 4)  # several blocks, so that every format has a good one before the bad
    whole = CaptureReader(write(tmp_path, PACKERS[kind](CAPTURE)))
    total = sum(len(batch) for batch in whole)
    flipped = bytearray(packed)
    flipped[len(packed) * 7 // 8] ^= 0x55
    for data in (packed[: len(packed) * 7 // 8], bytes(flipped)):
        reader = CaptureReader(write(tmp_path, data))
        assert sum(len(batch) for batch in reader) >= total // 2
        assert reader.damage is not None and "\n" not in reader.damage


@pytest.mark.parametrize("kind", PACKERS)
def test_padding_behind_is_nothing_and_other_bytes_are_told(tmp_path: Path, kind: str) -> None:
    packed = PACKERS[kind](CAPTURE)
    assert unpack(write(tmp_path, packed + bytes(1000)))[1].damage is None
    plain, stream = unpack(write(tmp_path, packed + b"something else"))
    assert plain == CAPTURE
    assert stream.damage is not None and "something else" in stream.damage


def test_zstd_skippable_frames_are_skipped(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    plain, stream = unpack(write(tmp_path, PACKERS["zstd"](b"one") + skippable + PACKERS["zstd"](b"two")))
    assert (plain, stream.damage) == (b"onetwo", None)


def test_plain_bytes_pass_as_they_are(tmp_path: Path) -> None:
    for data in (b"", b"abc", b"\x1f", CAPTURE):
        plain, stream = unpack(write(tmp_path, data), 1000)
        assert (plain, stream.compression, stream.damage) == (data, None, None)


@pytest.mark.parametrize("kind", PACKERS)
def test_broken_from_the_start_is_no_capture(tmp_path: Path, kind: str) -> None:
    broken = PACKERS[kind](b"")[:6] + b"\xff" * 100
    with pytest.raises(InputError, match=r"broken|memory|cut") as caught, CaptureReader(write(tmp_path, broken)):
        pass
    assert "\n" not in str(caught.value)


def test_too_large_a_window_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    greedy = packer.compress(bytes(1000)) + packer.flush()
    with pytest.raises(InputError, match="memory"), CaptureReader(write(tmp_path, greedy)):
        pass


def test_packed_twice_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="packed twice"),
        CaptureReader(write(tmp_path, gzip.compress(gzip.compress(CAPTURE)))),
    ):
        pass


def bomb(start: bytes, size: int, path: Path, kind: str) -> Path:
    """Pack `start` and then `size` zeros."""
    packer = zlib.compressobj(9, wbits=31) if kind == "gzip" else zstandard.ZstdCompressor().compressobj()
    with path.open("wb") as file:
        file.write(packer.compress(start))
        zeros = bytes(1 << 20)
        for _ in range(size >> 20):
            file.write(packer.compress(zeros))
        file.write(packer.flush())
    return path


MEASURE = """
import resource, sys, time
from kshot.errors import InputError
from kshot.sources.pcap import CaptureReader
list(CaptureReader(sys.argv[1]))  # the kernels are loaded
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
said = None
try:
    for batch in CaptureReader(sys.argv[2]): pass
except InputError as error:
    said = str(error)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) // 1024, time.process_time() - start, said, sep="|")
"""


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("start", [b"", pcap([]), section()], ids=["zeros", "empty packets", "pcapng"])
def test_bombs_are_refused_soon_and_in_little_memory(tmp_path: Path, kind: str, start: bytes) -> None:
    # A little beyond the bound is as good as 4 GiB: what lies behind the refusal is never unpacked.
    path = bomb(start, BOMB_OUTPUT_BYTES * 5 // 4, tmp_path / "bomb", kind)
    small = write(tmp_path, pcap(traffic(3, seed=1)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, small, path], capture_output=True, text=True, check=True, env=os.environ
    )
    growth_mib, cpu_seconds, said = done.stdout.strip().split("|")
    if start == pcap([]):
        assert "decompression bomb" in said
    elif not start:
        assert "not a capture" in said
    assert int(growth_mib) <= 64
    assert float(cpu_seconds) <= 4  # 2 on an idle machine


def test_a_capture_of_zeros_is_no_bomb_below_the_bound(tmp_path: Path) -> None:
    path = bomb(pcap([]), 32 << 20, tmp_path / "small", "gzip")
    start = time.perf_counter()
    assert sum(len(batch) for batch in CaptureReader(path)) == (32 << 20) // 16
    assert time.perf_counter() - start < 30
