"""The capture reader: every container libpcap reads, whole or damaged."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from benchmarks.load import Frame, block, enhanced, interface, obsolete, options, pcap, section, simple, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.errors import InputError
from kshot.sources.pcap import CHUNK_BYTES, CaptureReader, is_capture

pytestmark = pytest.mark.kernel
SECOND = 1_000_000_000


def read(path: Path) -> tuple[list[Frame], list[int], CaptureReader]:
    """Frames, link types and the reader after it is through."""
    frames, links = [], []
    with CaptureReader(path) as reader:
        for batch in reader:
            assert batch.offsets.dtype == np.int64 and batch.captured_bytes.dtype == np.int32
            for at, size, wire, time in zip(
                batch.offsets, batch.captured_bytes, batch.wire_bytes, batch.times_nanoseconds, strict=True
            ):
                frames.append(Frame(batch.buffer[at : at + size].tobytes(), int(time), int(wire)))
            links += batch.link_types.tolist()
    assert reader.packets_read == len(frames)
    return frames, links, reader


def write(folder: Path, data: bytes, name: str = "x.pcap") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


FRAMES = [
    Frame(b"first frame", 12 * SECOND + 345_678_000, 1500),
    Frame(b"", 13 * SECOND, 0),
    Frame(b"third", 14 * SECOND + 1000, 5),
]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_classic_pcap_in_both_byte_orders_and_resolutions(tmp_path: Path, big: bool, nanoseconds: bool) -> None:
    frames, links, reader = read(write(tmp_path, pcap(FRAMES, big=big, nanoseconds=nanoseconds, link_type=113)))
    assert frames == FRAMES
    assert links == [113] * 3
    assert reader.damage is None
    assert reader.size_bytes == (tmp_path / "x.pcap").stat().st_size


@pytest.mark.parametrize("big", [False, True])
def test_the_patched_format_has_longer_record_headers(tmp_path: Path, big: bool) -> None:
    assert read(write(tmp_path, pcap(FRAMES, big=big, patched=True)))[0] == FRAMES


def test_old_versions_have_their_lengths_swapped(tmp_path: Path) -> None:
    assert read(write(tmp_path, pcap(FRAMES, version=(2, 2))))[0] == FRAMES
    assert read(write(tmp_path, pcap(FRAMES, version=(2, 3))))[0] == FRAMES


def test_nanoseconds_are_kept_to_the_last(tmp_path: Path) -> None:
    frame = Frame(b"x", 4_294_967_295 * SECOND + 999_999_999, 1)
    assert read(write(tmp_path, pcap([frame], nanoseconds=True)))[0] == [frame]


@pytest.mark.parametrize("big", [False, True])
def test_pcapng_interfaces_have_their_own_links_and_clocks(tmp_path: Path, big: bool) -> None:
    order = "big" if big else "little"
    minus_hour = (-3600).to_bytes(8, order, signed=True)
    data = section(big=big, extra=options((1, b"comment"), big=big)) + b"".join(
        (
            interface(1, big=big),
            interface(101, extra=options((2, b"eth0"), (9, b"\x09"), big=big), big=big),
            interface(276, extra=options((9, b"\x8a"), (14, minus_hour), big=big), big=big),
            interface(113, extra=options((9, b"\x00"), big=big), big=big),
            block(0x0BAD, b"of whoever", big=big),
            enhanced(b"micro", 5_000_001, 0, big=big, extra=options((1, b"note"), big=big)),
            enhanced(b"nano", 1_700_000_000 * SECOND + 7, 1, big=big, wire_bytes=900),
            enhanced(b"1024th", 3600 * 1024 + 512, 2, big=big),
            enhanced(b"seconds", 77, 3, big=big),
            obsolete(b"old", 6_000_000, 0, big=big),
            simple(b"plain", big=big),
        )
    )
    frames, links, reader = read(write(tmp_path, data))
    assert [(f.data, f.nanoseconds) for f in frames] == [
        (b"micro", 5 * SECOND + 1000),
        (b"nano", 1_700_000_000 * SECOND + 7),
        (b"1024th", SECOND // 2),
        (b"seconds", 77 * SECOND),
        (b"old", 6 * SECOND),
        (b"plain", 6 * SECOND),
    ]
    assert frames[1].wire_bytes == 900
    assert links == [1, 101, 276, 113, 1, 1]
    assert reader.damage is None


def test_each_section_has_its_own_byte_order_and_interfaces(tmp_path: Path) -> None:
    data = section() + interface(1) + interface(101) + enhanced(b"a", 1, 1)
    data += section(big=True) + interface(113, big=True) + enhanced(b"b", 2, 0, big=True)
    assert read(write(tmp_path, data))[1] == [101, 113]


def test_a_simple_packet_is_cut_at_its_interface_s_snap_length(tmp_path: Path) -> None:
    frames, _, _ = read(write(tmp_path, section() + interface(1, 4) + simple(b"abcd", wire_bytes=60)))
    assert frames == [Frame(b"abcd", 0, 60)]


def test_thousands_of_interfaces_grow_the_table(tmp_path: Path) -> None:
    data = section() + b"".join(interface(n) for n in range(5000)) + enhanced(b"x", 0, 4999)
    assert read(write(tmp_path, data))[1] == [4999]


def test_a_packet_of_an_undescribed_interface_is_handed_out_and_told(tmp_path: Path) -> None:
    frames, links, reader = read(write(tmp_path, section() + interface() + enhanced(b"x", 0, 7) + enhanced(b"y")))
    assert ([f.data for f in frames], links) == ([b"x", b"y"], [-1, 1])
    assert reader.damage is not None and "1 packet" in reader.damage


def test_a_capture_without_packets_is_whole(tmp_path: Path) -> None:
    for data in (pcap([]), section(), section() + interface()):
        frames, _, reader = read(write(tmp_path, data))
        assert frames == [] and reader.damage is None


def test_frames_and_blocks_longer_than_a_chunk(tmp_path: Path) -> None:
    usb, big = Frame(bytes(3_000_000), SECOND, 3_000_000), Frame(b"z" * 262_144, SECOND, 262_144)
    assert read(write(tmp_path, pcap([usb, big, usb], link_type=249)))[0] == [usb, big, usb]
    assert read(write(tmp_path, pcap([big] * 5)))[0] == [big] * 5
    data = section() + interface() + block(77, bytes(5_000_000)) + enhanced(big.data, 1_000_000) + simple(b"end")
    assert [len(f.data) for f in read(write(tmp_path, data))[0]] == [262_144, 3]


def test_many_chunks_lose_nothing(tmp_path: Path) -> None:
    made = traffic(120, seed=1)
    path = write(tmp_path, pcap(made, nanoseconds=True))
    assert path.stat().st_size > 1.5 * CHUNK_BYTES
    frames, _, _ = read(path)
    assert [(f.data, f.nanoseconds) for f in frames] == [(f.data, f.nanoseconds) for f in made]


def test_the_least_records_fill_more_than_one_batch(tmp_path: Path) -> None:
    with CaptureReader(write(tmp_path, pcap([]) + bytes(16 * 50_000))) as reader:
        assert sum(len(batch) for batch in reader) == 50_000


def test_lying_wire_lengths_are_at_least_what_was_captured(tmp_path: Path) -> None:
    frames, _, _ = read(write(tmp_path, pcap([Frame(b"abc", 0, 1), Frame(b"abc", 0, 0xFFFFFFFF)])))
    assert [f.wire_bytes for f in frames] == [3, 3]


@pytest.mark.parametrize("cut", [1, 15, 20, 23])
def test_a_cut_file_gives_the_packets_before_and_says_so(tmp_path: Path, cut: int) -> None:
    whole = pcap([Frame(b"12345678", 0, 8)] * 3)
    path = write(tmp_path, whole[:-cut])
    frames, _, reader = read(path)
    assert len(frames) == 2
    assert reader.damage == f"{path}: cut in the middle of packet 3; the 2 packets before it are used"


def test_an_impossible_length_ends_the_walk(tmp_path: Path) -> None:
    path = write(tmp_path, pcap([Frame(b"ok", 0, 2)]) + b"\xff" * 64)
    frames, _, reader = read(path)
    assert len(frames) == 1
    assert reader.damage == f"{path}: packet 2 claims to hold 4294967295 bytes; the 1 packet before it is used"


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (b"\x06\0\0\0\x0b\0\0\0" + bytes(8), "impossible length"),
        (b"\x06\0\0\0\xfc\xff\xff\xff" + bytes(8), "impossible length"),
        (b"\x06\0\0\0\x0d\0\0\0" + bytes(8), "impossible length"),
        (b"\x07\0\0\0\x0c\0\0\0\x10\0\0\0", "lengths that differ"),
        (block(6, bytes(16)), "too short"),
        (block(2, bytes(16)), "too short"),
        (block(3, b""), "too short"),
        (block(1, bytes(4)), "too short"),
        (block(0x0A0D0D0A, bytes(16)), "byte-order"),
        (section(version=(2, 0)), "unknown version"),
        (b"\x06\0\0\0\x40\0\0\0" + bytes(8), "cut in the middle"),
    ],
)
def test_a_broken_block_ends_the_walk(tmp_path: Path, tail: bytes, said: str) -> None:
    frames, _, reader = read(write(tmp_path, section() + interface() + enhanced(b"ok") + tail))
    assert [f.data for f in frames] == [b"ok"]
    assert reader.damage is not None and said in reader.damage and "\n" not in reader.damage


def test_a_lying_captured_length_in_a_sound_block_is_cut_to_the_block(tmp_path: Path) -> None:
    frames, _, _ = read(write(tmp_path, section() + interface() + enhanced(b"four", captured=9999) + simple(b"next")))
    assert [f.data for f in frames] == [b"four", b"next"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"hello, world, this is a text file\n" * 3, "not a capture"),
        (b"\n\r\r\n" + b"only looks like it" * 3, "not a capture"),
        (pcap([])[:20], "cut inside"),
        (section()[:20], "cut inside"),
        (pcap([], version=(3, 0)), "version 3.0"),
        (section(version=(0, 9)), "version 0.9"),
        (b"PK\x03\x04" + bytes(60), "zip"),
        (b"snoop\0\0\0" + bytes(60), "editcap"),
        (b"\xd4", "not a capture"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_line(tmp_path: Path, data: bytes, said: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(InputError, match=said) as caught, CaptureReader(path) as reader:
        list(reader)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value) and caught.value.hint


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.pcap", "no such file"), (tmp_path, "folder"), (Path("a\0b"), "null")):
        with pytest.raises(InputError, match=said), CaptureReader(path):
            pass


def test_is_capture_looks_inside(tmp_path: Path) -> None:
    import gzip

    assert is_capture(write(tmp_path, pcap(FRAMES), "named.csv"))
    assert is_capture(write(tmp_path, gzip.compress(section()), "named.gz"))
    assert not is_capture(write(tmp_path, gzip.compress(b"a,b\n1,2\n"), "table.csv.gz"))
    assert not is_capture(write(tmp_path, b"", "empty.pcap"))
    assert is_capture("-")
    with pytest.raises(InputError):
        is_capture(tmp_path / "none")


def test_progress_rises_to_the_size(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(traffic(60, seed=2)))
    seen: list[int] = []
    with CaptureReader(path, on_progress=seen.append) as reader:
        for _ in reader:
            pass
        assert seen[-1] == reader.size_bytes
    assert seen == sorted(seen)


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    data = pcap(FRAMES * 1000)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    frames, _, reader = read(path)
    writer.join()
    assert frames == FRAMES * 1000
    assert reader.size_bytes is None


def test_stdin_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pcap(FRAMES))))
    with CaptureReader("-") as reader:
        assert sum(len(batch) for batch in reader) == 3
    assert not sys.stdin.buffer.closed


def test_real_stdin(tmp_path: Path) -> None:
    code = (
        "from kshot.sources.pcap import CaptureReader\n"
        "with CaptureReader('-') as r: print(sum(map(len, r)), r.size_bytes, r.damage)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pcap(FRAMES)[:-2], capture_output=True, check=True)
    assert done.stdout.decode().startswith("2 None standard input: cut in the middle of packet 3")


def test_a_reader_without_with_reads_too(tmp_path: Path) -> None:
    reader = CaptureReader(write(tmp_path, pcap(FRAMES)))
    assert sum(len(batch) for batch in reader) == 3


def test_closing_in_mid_iteration_ends_it(tmp_path: Path) -> None:
    reader = CaptureReader(write(tmp_path, pcap(traffic(120, seed=1))))
    with reader:
        for _ in reader:
            reader.close()
    assert reader.damage is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_behind_a_header_never_raise(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    head = data.draw(st.sampled_from([pcap([]), pcap([], big=True), section(), section() + interface()]))
    tail = data.draw(st.binary(max_size=400))
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(head + tail)
    frames, _, _ = read(path)
    assert all(f.nanoseconds >= 0 and (f.wire_bytes or 0) >= len(f.data) for f in frames)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=99), st.integers(0, 2**32 * SECOND - 1)), max_size=20), st.booleans())
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[bytes, int]], big: bool
) -> None:
    path = tmp_path_factory.mktemp("back") / "x"
    frames = [Frame(data, time, len(data)) for data, time in made]
    path.write_bytes(pcap(frames, nanoseconds=True, big=big))
    assert read(path)[0] == frames
    clock = options((9, b"\x09"), big=big)
    blocks = [enhanced(f.data, f.nanoseconds, big=big) for f in frames]
    path.write_bytes(section(big=big) + interface(extra=clock, big=big) + b"".join(blocks))
    expected = [Frame(f.data, min(f.nanoseconds, 1 << 62), len(f.data)) for f in frames]
    assert read(path)[0] == expected
