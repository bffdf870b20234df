"""A folder where captures are dropped: names each one once, when it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kshot.errors import InputError
from kshot.sources.compressed import STDIN
from kshot.sources.pcap import CaptureReader, is_capture

SETTLE_SECONDS = 2.0
"""A capture is whole when it was not written to for so long; what is renamed into the folder waits as long."""


class CaptureFolder:
    """Names the captures of a folder in the order of their first packets, and remembers which it named.

    Hidden files, and those that end in .part or .tmp, are somebody's work in progress.
    """

    def __init__(
        self,
        folder: Path,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.problems: list[str] = []
        """What is no capture, or was written to after it was read, a line each; the caller empties it."""
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._done: dict[str, int] = {}
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}
        self._first_times: dict[str, int | None] = {}
        self._told: set[str] = set()

    def resume(self, done: dict[str, Any] | None) -> None:
        """Begin, or go on behind what `place` gave. Raises `InputError` if the folder is not there."""
        if not self.folder.is_dir():
            raise InputError(str(self.folder), "is no folder", "give the folder where captures are dropped")
        self._done = {str(key): int(size) for key, size in (done or {}).items()}

    def place(self) -> dict[str, int]:
        """Which captures were read: plain JSON."""
        return dict(self._done)

    def next(self) -> Path | None:
        """The whole capture whose first packet is the oldest, of those not yet done; None while there is none."""
        entries = self._entries()
        for key in entries.keys() & self._done.keys() - self._told:
            if _size(entries[key]) != self._done[key]:
                self._told.add(key)
                self.problems.append(f"{entries[key]}: was written to after it was read; what was added is left out")
        ready = [path for key, path in entries.items() if key not in self._done and self._is_whole(path, key)]
        ready = [path for path in ready if self._first_time(path) is not None]
        return min(ready, key=lambda path: (self._first_time(path) or 0, path.name), default=None)

    def named(self, name: str) -> Path | None:
        """The capture called `name`, if it is still there."""
        path = self.folder / name
        return path if path.is_file() else None

    def finish(self, path: Path) -> None:
        """Note that a capture was read to its end; what is gone from the folder is forgotten."""
        there = self._entries()
        key = _key(path)
        self._done = {known: size for known, size in self._done.items() if known in there}
        if key is not None:
            self._done[key] = _size(path)

    @property
    def backlog_bytes(self) -> int:
        """Of all captures not yet done."""
        return sum(_size(path) for key, path in self._entries().items() if key not in self._done)

    def _entries(self) -> dict[str, Path]:
        try:
            found = [path for path in self.folder.iterdir() if not path.name.startswith(".") and path.is_file()]
        except OSError:
            return {}
        found = [path for path in found if path.suffix not in (".part", ".tmp") and path.name != STDIN]
        return {key: path for path in found if (key := _key(path)) is not None}

    def _is_whole(self, path: Path, key: str) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        now, state = self._clock(), (status.st_size, status.st_mtime_ns)
        known = self._seen.get(key)
        if known is None or known[0] != state:
            self._seen[key] = (state, now)
            self._first_times.pop(key, None)
            # What lay there long before we looked need not be waited for.
            return time.time() - status.st_mtime >= self._settle_seconds
        return now - known[1] >= self._settle_seconds or time.time() - status.st_mtime >= self._settle_seconds

    def _first_time(self, path: Path) -> int | None:
        """Nanoseconds of its first packet, 0 without one; None if it is no capture, which is told once."""
        key = _key(path)
        if key is None:
            return None
        if key not in self._first_times:
            try:
                self._first_times[key] = _begin_of(path)
            except InputError as error:
                self._first_times[key] = None
                if key not in self._told:
                    self._told.add(key)
                    self.problems.append(f"{error}; it is left out")
        return self._first_times[key]


def _begin_of(path: Path) -> int:
    if not is_capture(path):
        raise InputError(str(path), "is no capture")
    with CaptureReader(path) as reader:
        for batch in reader:
            if len(batch):
                return int(batch.times_nanoseconds[0])
    return 0


def _key(path: Path) -> str | None:
    """A file by its name and inode: another one of the same name is another capture."""
    try:
        return f"{path.stat().st_ino}:{path.name}"
    except OSError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
