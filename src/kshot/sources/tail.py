"""Follows one growing log through rotation and goes on where a bookmark stands."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from kshot.errors import InputError
from kshot.sources.compressed import ByteStream
from kshot.sources.log_files import head_of

CHUNK_BYTES = 1 << 20
SETTLE_SECONDS = 1.0
"""A rotated file is done when nothing was added for so long: its writer may hear of the rotation later."""
_HEAD_BYTES = 4096
_MOST_DONE = 64
"""Files remembered as read: more than one rotates away in between."""
_PACKED = (".gz", ".zst", ".bz2", ".xz")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one file, each with its newline."""

    data: bytes
    name: str
    first_line: int
    begins_file: bool
    """The lines before, if any, were of another file."""


@dataclass(slots=True)
class _Open:
    """The file at hand, read up to `offset` of its plain bytes."""

    path: Path
    file: FileIO | None
    stream: ByteStream | None
    offset: int = 0
    lines: int = 0
    grew_at: float = 0.0

    @property
    def inode(self) -> int:
        return os.fstat(self.file.fileno()).st_ino if self.file is not None else 0

    def read(self, size: int) -> bytes:
        if self.file is not None:
            return self.file.read(size) or b""
        assert self.stream is not None
        room = bytearray(size)
        filled = 0
        while filled < size and (count := self.stream.readinto(memoryview(room)[filled:])):
            filled += count
        return bytes(room[:filled])

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        if self.stream is not None:
            self.stream.close()


class Tail:
    """The lines of `path`, and of the files that rotation made of it while nobody looked.

    path: the file written to now; it may not exist yet. archives: folders besides its own where rotated files go.
    A rotated file is known again by its first bytes, under whatever name, packed or copied and cut (copytruncate).
    """

    def __init__(
        self,
        path: Path,
        archives: Callable[[], Sequence[Path]] = list,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        most_done: int = _MOST_DONE,
    ) -> None:
        self.path = path
        self.problems: list[str] = []
        """Files that are gone or cut, a line each; the caller empties it."""
        self._archives = archives
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._most_done = most_done
        self._open: _Open | None = None
        self._begins_file = True
        self._head: tuple[str, int] = ("", 0)
        self._done: list[tuple[str, int]] = []
        self._ended = 0
        self._kept = b""
        self._left_bytes: int | None = None
        stem, suffix = re.escape(path.stem), re.escape(path.suffix)
        self._rotated = re.compile(rf"{stem}({suffix})?[._-]\d")

    def place(self) -> dict[str, Any]:
        """Where it stands, for `resume`: plain JSON."""
        at = self._open
        return {
            "head": self._head[0],
            "head_bytes": self._head[1],
            "offset": at.offset if at else 0,
            "lines": at.lines if at else 0,
            "inode": at.inode if at else 0,
            "done": self._done,
            "ended": self._ended,
        }

    def begin(self, since: int) -> None:
        """Begin with what rotation made of `path` since then (nanoseconds since 1970), if anything; before all else."""
        self._done, self._ended = [("", 0)], since

    def resume(self, place: dict[str, Any] | None) -> None:
        """Go on at `place`, wherever that file lies by now; from the start of `path` without one."""
        if place is None:
            return
        self._done = [(str(head), int(size)) for head, size in place["done"]]
        self._ended = int(place["ended"])
        head, size, offset = str(place["head"]), int(place["head_bytes"]), int(place["offset"])
        if not size:
            if self._done:
                self._open_next()
            return
        # Two files may begin alike (with a header and no date): the inode tells, or that the other one was read.
        there = sorted([*self._siblings(), self.path], key=lambda path: (_inode(path) or (0, 0))[1] != place["inode"])
        for path in there:
            start = _head(path)
            if start is None or len(start) < size or digest(start, size) != head:
                continue
            if (digest(start, len(start)), len(start)) in self._done:
                continue
            opened = _opened(path)
            if opened is None or not _skip(opened, offset):
                continue
            self._take(opened, int(place["lines"]), (head, size))
            return
        lines = place["lines"]
        self.problems.append(
            f"{self.path}: the file read last, up to line {lines}, is gone; what it held beyond is lost"
        )

    @property
    def backlog_bytes(self) -> int:
        """Bytes of the file at hand, and of later ones, that were not read yet."""
        if self._open is None:
            return _size(self.path) if self._left_bytes is None else self._left_bytes
        if self._open.file is None:
            return 0
        here = os.fstat(self._open.file.fileno())
        there = _size(self.path) if _inode(self.path) != (here.st_dev, here.st_ino) else 0
        return max(here.st_size - self._open.offset, 0) + there

    def header(self) -> bytes:
        """The comment lines (#) that the file at hand begins with."""
        if self._open is None:
            return b""
        start = _head(self._open.path, self._open, 1 << 16) or b""
        lines = start.split(b"\n")
        count = next((i for i, line in enumerate(lines) if not line.startswith(b"#")), 0)
        return b"".join(line + b"\n" for line in lines[:count])

    def read(self, most_bytes: int = CHUNK_BYTES) -> Chunk | None:
        """Return the next whole lines of one file; None while there are none."""
        for _ in range(_MOST_DONE):
            at = self._open
            if at is None:
                self._open_next()
                at = self._open
                if at is None:
                    return None
            if self._was_cut(at):
                self._go_on_in_copy(at)
                continue
            chunk = self._chunk(at, most_bytes)
            if chunk is not None:
                return chunk
            if not self._is_over(at):
                return None
            rest = self._finish(at)
            if rest is not None:
                return rest
        return None

    def close(self) -> None:
        """Let go of the file."""
        self._left_bytes = self.backlog_bytes
        if self._open is not None:
            self._open.close()
            self._open = None

    def _chunk(self, at: _Open, most_bytes: int) -> Chunk | None:
        data = self._kept + at.read(most_bytes)
        if len(data) > len(self._kept):
            at.grew_at = self._clock()
        end = data.rfind(b"\n") + 1
        # A line without an end is read on until it has one; the bookmark stays before it.
        self._kept = data[end:]
        return self._give(at, data[:end], data[:end].count(b"\n")) if end else None

    def _give(self, at: _Open, data: bytes, lines: int) -> Chunk:
        chunk = Chunk(data, str(at.path), at.lines + 1, self._begins_file)
        self._begins_file = False
        at.offset += len(data)
        at.lines += lines
        if self._head[1] < _HEAD_BYTES:
            self._head = _head_of(at)
        return chunk

    def _take(self, opened: _Open, lines: int, head: tuple[str, int]) -> None:
        opened.lines, opened.grew_at = lines, self._clock()
        self._open, self._head, self._kept, self._begins_file = opened, head, b"", not lines

    def _was_cut(self, at: _Open) -> bool:
        """Whether what was read of the file is no longer in it."""
        if at.file is None:
            return False
        if os.fstat(at.file.fileno()).st_size < at.offset + len(self._kept):
            return True
        head, size = self._head
        return size > 0 and digest(os.pread(at.file.fileno(), size, 0), size) != head

    def _go_on_in_copy(self, at: _Open) -> None:
        """The file was copied and cut: what nobody read of it lies in the copy."""
        head, size = self._head
        at.close()
        self._open, self._kept = None, b""
        for path in self._siblings():
            start = _head(path)
            if start is None or not size or len(start) < size or digest(start, size) != head:
                continue
            copy = _opened(path)
            if copy is not None and _skip(copy, at.offset):
                self._take(copy, at.lines, self._head)
                return
        self.problems.append(f"{at.path}: was cut at line {at.lines}; what was added before that is lost")

    def _is_over(self, at: _Open) -> bool:
        """Whether nothing more will be added to it."""
        if at.file is not None:
            here = os.fstat(at.file.fileno())
            there = _inode(self.path)
            if there == (here.st_dev, here.st_ino) or (there is None and not self._was_followed(at)):
                return False
        return at.file is None or self._clock() - at.grew_at >= self._settle_seconds

    def _finish(self, at: _Open) -> Chunk | None:
        """Leave a file for the next one; return its last line if it has no end."""
        rest, self._kept = self._kept, b""
        if rest:
            # What it ends with is as much of the line as there will ever be.
            return self._give(at, rest + b"\n", 1)
        if at.stream is not None and at.stream.damage:
            self.problems.append(f"{at.path}: {at.stream.damage}; the lines before it are used")
        self._ended = _modified(at)
        self._done = [*self._done, self._head][-self._most_done :]
        at.close()
        self._open, self._head = None, ("", 0)
        self._open_next()
        return None

    def _open_next(self) -> None:
        """Open the first file that rotation left behind after the last one read, else `path`; `path` to begin with."""
        for _ in range(_MOST_DONE):
            current = _inode(self.path)
            for path in self._left_behind(self._ended) if self._done else ():
                opened = _opened(path)
                if opened is not None:
                    self._take(opened, 0, ("", 0))
                    return
            opened = _opened(self.path)
            if opened is None:
                return
            if _inode(self.path) == current and (opened.inode == (current or (0, 0))[1] or opened.file is None):
                self._take(opened, 0, ("", 0))
                return
            # It was rotated away while we looked: it is one of the files left behind now.
            opened.close()

    def _left_behind(self, since: int) -> Iterator[Path]:
        """Rotated files that were written to since then, and not read."""
        current = _inode(self.path)
        for path in self._siblings():
            if _modified_of(path) < since or _inode(path) == current:
                continue
            start = _head(path)
            if start is not None and (digest(start, len(start)), len(start)) not in self._done:
                yield path

    def _was_followed(self, at: _Open) -> bool:
        """Whether a file came after it and was rotated too, though none is at `path` now."""
        head, size = self._head
        later = [path for path in self._left_behind(_modified(at)) if (_inode(path) or (0, 0))[1] != at.inode]
        return any(digest(_head(path) or b"", size) != head for path in later)

    def _siblings(self) -> list[Path]:
        """Rotated files, those written last at the end."""
        found: list[Path] = []
        for folder in (self.path.parent, *self._archives()):
            found += _rotated_in(folder, self._rotated)
        return sorted(found, key=lambda path: (_modified_of(path), path.name))


def _rotated_in(folder: Path, pattern: re.Pattern[str]) -> Iterator[Path]:
    try:
        yield from [entry for entry in folder.iterdir() if pattern.match(entry.name) and entry.is_file()]
    except OSError:
        return


def _opened(path: Path) -> _Open | None:
    """Open a file for reading from its start; None if it is not there, or cannot be read just now."""
    try:
        if path.suffix in _PACKED:
            stream = ByteStream(path)
            stream.open()
            return _Open(path, None, stream)
        return _Open(path, path.open("rb", buffering=0), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        what = (error.strerror or str(error)).lower()
        raise InputError(str(path), what, "check the path and its rights") from error
    except InputError as error:
        if not path.exists():
            return None
        raise error


def _skip(at: _Open, offset: int) -> bool:
    """Go to `offset`; False if the file is not as long."""
    if at.file is not None:
        if os.fstat(at.file.fileno()).st_size < offset:
            at.close()
            return False
        at.file.seek(offset)
    else:
        left = offset
        while left and (data := at.read(min(left, CHUNK_BYTES))):
            left -= len(data)
        if left:
            at.close()
            return False
    at.offset = offset
    return True


def _head(path: Path, at: _Open | None = None, size: int = _HEAD_BYTES) -> bytes | None:
    """The first plain bytes of a file, of the open one if that is at hand; None if it cannot be read."""
    if at is not None and at.file is not None:
        return os.pread(at.file.fileno(), size, 0)
    try:
        return head_of(path)[:size]
    except InputError:
        return None


def _head_of(at: _Open) -> tuple[str, int]:
    """What the file at hand is known again by: digest and size of the first bytes, as far as they were read."""
    size = min(at.offset, _HEAD_BYTES)
    return digest(_head(at.path, at) or b"", size), size


def digest(head: bytes, size: int) -> str:
    """Of the first `size` bytes of a file: what it is known again by."""
    return hashlib.sha256(head[:size]).hexdigest()


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _modified(at: _Open) -> int:
    return os.fstat(at.file.fileno()).st_mtime_ns if at.file is not None else _modified_of(at.path)


def _modified_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
