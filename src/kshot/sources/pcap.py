"""Reads pcap and pcapng, packed or piped, into batches of frames in one reused buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kshot.errors import InputError
from kshot.records.frames import FrameBatch
from kshot.sources import pcapng_walk
from kshot.sources.compressed import ByteStream
from kshot.sources.pcap_walk import BROKEN, MORE, walk_pcap

CHUNK_BYTES = 512 << 10
"""How much is read at once: small enough that frames are still in the second-level cache when they are metered."""
MOST_FRAME_BYTES = 262_144
"""libpcap's MAXIMUM_SNAPLEN: a longer frame is taken for damage, except on these link types:"""
_LONG_FRAMES = {231: 128 << 20, 279: 8 << 20, 189: 128 << 20, 220: 128 << 20, 249: 128 << 20}  # D-Bus, EBHSCR, USB

_FIRST_BYTES = 28  # a pcap file header is 24 bytes, the least pcapng section header 28
_PCAP_MAGICS = {
    # magic: (big endian, nanoseconds, record header bytes)
    b"\xd4\xc3\xb2\xa1": (False, False, 16),
    b"\xa1\xb2\xc3\xd4": (True, False, 16),
    b"\x4d\x3c\xb2\xa1": (False, True, 16),
    b"\xa1\xb2\x3c\x4d": (True, True, 16),
    b"\x34\xcd\xb2\xa1": (False, False, 24),  # Alexey Kuznetzov's patched libpcap
    b"\xa1\xb2\xcd\x34": (True, False, 24),
}
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"
_BYTE_ORDERS = (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a")
_OTHERS = (
    (b"PK", "a zip archive", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a rar archive", "unpack it first"),
    (b"\x04\x22\x4d\x18", "an lz4 stream", "run `lz4 -dc FILE | kshot ... -`"),
    (b"\x1f\x9d", "a compress(1) stream", "run `zcat FILE | kshot ... -`"),
    (b"snoop\0\0\0", "a Solaris snoop capture", "convert it: editcap -F pcap FILE NEW"),
    (b"\x1f\x8b", "packed twice", "unpack it once"),
    (b"\x28\xb5\x2f\xfd", "packed twice", "unpack it once"),
)


@dataclass(slots=True)
class _Arrays:
    """What a walk fills: one entry a frame."""

    offsets: NDArray[np.int64]
    captured: NDArray[np.int32]
    wire: NDArray[np.int32]
    times: NDArray[np.int64]
    links: NDArray[np.int32]

    @classmethod
    def of(cls, frames: int) -> _Arrays:
        return cls(
            np.empty(frames, np.int64),
            np.empty(frames, np.int32),
            np.empty(frames, np.int32),
            np.empty(frames, np.int64),
            np.empty(frames, np.int32),
        )

    def batch(self, buffer: NDArray[np.uint8], n: int) -> FrameBatch:
        return FrameBatch(buffer, self.offsets[:n], self.captured[:n], self.wire[:n], self.times[:n], self.links[:n])


class _Pcap:
    """The walk of a classic pcap file."""

    header_bytes = 24
    undescribed_packets = 0

    def __init__(self, name: str, head: bytes) -> None:
        big, self._nanoseconds, self._record_bytes = _PCAP_MAGICS[head[:4]]
        if len(head) < 24:
            raise InputError(name, "is cut inside its file header", "capture or copy it again")
        order = "big" if big else "little"
        major, minor = (int.from_bytes(head[at : at + 2], order) for at in (4, 6))  # type: ignore[arg-type]
        if not ((major == 2 and minor <= 4) or (major, minor) == (543, 0)):  # 543.0 is what DG/UX wrote
            raise InputError(name, f"is of pcap version {major}.{minor}", "convert it: editcap -F pcapng FILE NEW")
        self._big = big
        self._lengths = 1 if major == 543 or minor < 3 else 2 if minor == 3 else 0
        # The upper half of the field tells of frame check sequences.
        self._link_type = int.from_bytes(head[20:24], order) & 0xFFFF  # type: ignore[arg-type]
        self._most_bytes = _LONG_FRAMES.get(self._link_type, MOST_FRAME_BYTES)

    def walk(self, buffer: NDArray[np.uint8], start: int, end: int, into: _Arrays) -> tuple[int, int, int, int]:
        return walk_pcap(
            buffer,
            start,
            end,
            self._big,
            self._nanoseconds,
            self._record_bytes,
            self._lengths,
            self._most_bytes,
            self._link_type,
            into.offsets,
            into.captured,
            into.wire,
            into.times,
            into.links,
        )

    def unit(self, packets: int) -> str:
        return f"packet {packets + 1}"

    def fault(self, packets: int, number: int) -> str:
        return f"packet {packets + 1} claims to hold {number} bytes"


class _Pcapng:
    """The walk of a pcapng file."""

    header_bytes = 0  # the section header is a block like the others

    def __init__(self, name: str, head: bytes) -> None:
        if len(head) < _FIRST_BYTES:
            raise InputError(name, "is cut inside its section header", "capture or copy it again")
        order = "little" if head[8:12] == b"\x4d\x3c\x2b\x1a" else "big"
        major, minor = (int.from_bytes(head[at : at + 2], order) for at in (12, 14))  # type: ignore[arg-type]
        if major != 1:
            raise InputError(name, f"is of pcapng version {major}.{minor}", "convert it: editcap FILE NEW")
        self._state = np.zeros(pcapng_walk.STATE_SIZE, np.int64)
        self._interfaces = np.zeros((16, pcapng_walk.INTERFACE_COLUMNS), np.int64)

    @property
    def undescribed_packets(self) -> int:
        return int(self._state[pcapng_walk.UNDESCRIBED])

    def walk(self, buffer: NDArray[np.uint8], start: int, end: int, into: _Arrays) -> tuple[int, int, int, int]:
        result = pcapng_walk.walk_pcapng(
            buffer,
            start,
            end,
            self._state,
            self._interfaces,
            into.offsets,
            into.captured,
            into.wire,
            into.times,
            into.links,
        )
        if result[2] == pcapng_walk.INTERFACES_FULL:
            longer = np.zeros((4 * len(self._interfaces), pcapng_walk.INTERFACE_COLUMNS), np.int64)
            longer[: len(self._interfaces)] = self._interfaces
            self._interfaces = longer
        return result

    def unit(self, packets: int) -> str:
        return f"the block after packet {packets}" if packets else "a block"

    def fault(self, packets: int, number: int) -> str:
        return f"{self.unit(packets)} {pcapng_walk.REASONS[number]}"


class CaptureReader:
    """Reads the capture at `path` ("-" is stdin), pcap or pcapng, gzip, zstd, bzip2 or xz around it.

    Iterate over it for `FrameBatch`es; each holds until the next one is asked for. Raises `InputError` when entered or
    iterated over if the file cannot be read, is no capture, or swells like a decompression bomb.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "one.pcap")
    ...     header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
    ...     _ = file.write_bytes(header + bytes.fromhex("01000000 02000000 03000000 40000000 aabbcc"))
    ...     with CaptureReader(file) as reader:
    ...         [(len(b), int(b.wire_bytes[0]), int(b.times_nanoseconds[0])) for b in reader]
    [(1, 64, 1000002000)]
    """

    def __init__(self, path: str | Path, *, on_progress: Callable[[int], None] | None = None) -> None:
        self._stream = ByteStream(path)
        self._on_progress = on_progress
        self._format: _Pcap | _Pcapng | None = None
        self._buffer = np.empty(0, np.uint8)
        self._filled = 0
        self._closed = False
        self.packets_read = 0
        """Frames handed out so far."""
        self.damage: str | None = None
        """One line if the container was cut or broken part-way; None if it is whole as far as it was read."""

    @property
    def size_bytes(self) -> int | None:
        """Of the file as it lies there; None for pipes, and before it is opened."""
        return self._stream.size_bytes

    def __enter__(self) -> CaptureReader:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing can be read after."""
        self._stream.close()
        self._closed = True

    def _open(self) -> None:
        self._stream.open()
        self._buffer = np.empty(CHUNK_BYTES, np.uint8)
        try:
            while self._filled < _FIRST_BYTES and self._fill(_FIRST_BYTES):
                pass
            self._format = _format_of(self._stream, bytes(self._buffer[: min(self._filled, _FIRST_BYTES)]))
        except InputError:
            self.close()
            raise

    def __iter__(self) -> Iterator[FrameBatch]:
        if self._format is not None:
            yield from self._batches(self._format)
            return
        with self:
            yield from self

    def _batches(self, container: _Pcap | _Pcapng) -> Iterator[FrameBatch]:
        # Records of less than 16 bytes are no packets, so that this holds all frames of a chunk.
        into = _Arrays.of(CHUNK_BYTES // 16)
        start = container.header_bytes
        while not self._closed:
            found, stopped, why, number = (int(x) for x in container.walk(self._buffer, start, self._filled, into))
            if found:
                self.packets_read += found
                yield into.batch(self._buffer, found)
                if self._closed:
                    return
            start = stopped
            if why == BROKEN:
                self._note(container.fault(self.packets_read, number))
                break
            if why == MORE:
                self._keep_from(start)
                start = 0
                if not self._fill(number):
                    if self._filled:
                        self._note(f"cut in the middle of {container.unit(self.packets_read)}")
                    break
        if self._stream.damage is not None:
            self._note(self._stream.damage)
        lost = container.undescribed_packets
        if lost and self.damage is None:
            said = f"{_packets(lost)} came from no interface that it describes; counted, but of no known link type"
            self.damage = f"{self._stream.name}: {said}"

    def _note(self, what: str) -> None:
        """Keep the first fault: what follows is its consequence."""
        if self.damage is None:
            n = self.packets_read
            used = f"the {_packets(n)} before it {'is' if n == 1 else 'are'} used" if n else "no packet before it"
            self.damage = f"{self._stream.name}: {what}; {used}"

    def _keep_from(self, start: int) -> None:
        rest = self._filled - start
        if start and rest:
            self._buffer[:rest] = self._buffer[start : self._filled].copy()
        self._filled = rest

    def _fill(self, wanted: int) -> bool:
        """Read once into the buffer, grown if `wanted` bytes do not fit; False at the end."""
        if wanted > len(self._buffer):
            longer = np.empty(wanted, np.uint8)  # pages nobody writes to cost nothing, so a lie is free
            longer[: self._filled] = self._buffer[: self._filled]
            self._buffer = longer
        target = max(wanted, CHUNK_BYTES)
        count = self._stream.readinto(self._buffer.data[self._filled : target])
        if self._on_progress is not None:
            self._on_progress(self._stream.consumed_bytes)
        self._filled += count
        return count > 0


def _packets(count: int) -> str:
    return f"{count} packet" if count == 1 else f"{count} packets"


def _format_of(stream: ByteStream, head: bytes) -> _Pcap | _Pcapng:
    if head[:4] in _PCAP_MAGICS:
        return _Pcap(stream.name, head)
    if head[:4] == _PCAPNG_MAGIC and head[8:12] in _BYTE_ORDERS:
        return _Pcapng(stream.name, head)
    if not head:
        what = "is empty" if stream.damage is None else f"holds nothing: {stream.damage}"
        raise InputError(stream.name, what, "capture or copy it again")
    for magic, what, hint in _OTHERS:
        if head.startswith(magic):
            raise InputError(stream.name, f"is {what}, not a capture", hint)
    if stream.damage is not None:
        raise InputError(stream.name, f"is no capture: {stream.damage}", "capture or copy it again")
    raise InputError(stream.name, "is not a capture (pcap or pcapng)", "give one written by tcpdump or Wireshark")


def is_capture(path: str | Path) -> bool:
    """Tell by its first bytes, unpacked if need be, whether `path` is a capture; stdin counts as one, unread.

    Raises `InputError` if the file cannot be read.
    """
    if str(path) == "-":
        return True
    with ByteStream(path) as stream:
        head = bytearray(12)
        filled = 0
        while filled < len(head) and (count := stream.readinto(memoryview(head)[filled:])):
            filled += count
    return bytes(head[:4]) in _PCAP_MAGICS or (bytes(head[:4]) == _PCAPNG_MAGIC and bytes(head[8:12]) in _BYTE_ORDERS)
