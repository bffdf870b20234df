"""Suricata's EVE events, followed however it writes them: one file, a file of each thread, a socket."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from glob import has_magic
from pathlib import Path
from typing import Any

import polars as pl

from kshot.errors import InputError
from kshot.records.streams import Bookmark, Piece
from kshot.sources.eve_socket import KINDS, EveSocket
from kshot.sources.followed_logs import HOLD_SECONDS, Problems
from kshot.sources.following import FollowedSource
from kshot.sources.pending import PendingFacts
from kshot.sources.suricata import parse_eve
from kshot.sources.suricata_fields import no_flows
from kshot.sources.tail import CHUNK_BYTES, SETTLE_SECONDS, Tail

_MOST_THREADS = 512
_MOST_DONE = 16
"""Files of a thread remembered as read: each is told in every bookmark, times the threads."""
_LEAST_CHUNK_BYTES = 1 << 18
_MOST_CHUNKS = 16
"""Read by one `read`, which must not take long."""
_MOST_HELD_BYTES = 64 << 20
_LOOK_SECONDS = 1.0
"""Between two looks for files of further threads."""
_SLACK_NANOSECONDS = 1_000_000_000
"""A file system's clock may be that far behind the clock."""
_HINT_SECONDS = 30.0
_MOMENT = re.compile(rb'\{"timestamp": ?"([^"]{1,40})"')
_MOMENT_BYTES = 1 << 16


def followed_eve(told: str) -> FollowedSource:
    """Return what `told` means: eve.json, the folder it lies in, eve.*.json, unix_stream:PATH or unix_dgram:PATH.

    Where files of threads lie beside an eve.json that is not there, they are what is followed.

    Raises:
        InputError: it means none of these.
    """
    kind, colon, place = told.partition(":")
    if colon and kind in KINDS:
        return EveSocket(Path(place), kind)
    if colon and kind.startswith("unix"):
        raise InputError(told, "is no kind of socket", "give unix_stream:PATH or unix_dgram:PATH, as suricata.yaml has")
    path = Path(told)
    if path.is_socket():
        raise InputError(told, "is a socket", f"give unix_stream:{told} or unix_dgram:{told}, as suricata.yaml has")
    if path.is_dir():
        path = path / "eve.json"
    if path.exists():
        return EveFile(path)
    if has_magic(path.name):
        if path.name.count(".*") != 1 or has_magic(path.name.replace(".*", "")):
            raise InputError(told, "names no files of threads", "put .* where each has its number, such as eve.*.json")
        return EveThreads(path.with_name(path.name.replace(".*", "")))
    return EveThreads(path) if _newest_of_threads(path) else EveFile(path)


class EveFile:
    """Follows one of Suricata's EVE files: its flow events, with the http, dns and tls events of their flow_id."""

    def __init__(
        self,
        path: Path,
        *,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self.name = f"eve:{path.absolute()}"
        self.ended = False
        self._clock = clock
        self._tail = Tail(path, settle_seconds=settle_seconds, clock=clock)
        self._facts = PendingFacts()
        self._problems = Problems()
        self._hint_at = 0.0

    def resume(self, bookmark: Bookmark | None) -> None:
        """See `FollowedSource`."""
        if not self._path.parent.is_dir() or self._path.is_dir():
            raise InputError(str(self._path), "is not where a file can be", "give the eve.json that Suricata writes")
        if bookmark is not None:
            self._tail.resume(json.loads(bookmark.position))
            self._facts.unpack(bookmark.carry())

    @property
    def backlog_bytes(self) -> int:
        """See `FollowedSource`."""
        return self._tail.backlog_bytes

    def read(self) -> Piece | None:
        """See `FollowedSource`."""
        chunk = self._tail.read(CHUNK_BYTES)
        if chunk is None:
            self._look_beside()
            return None
        result = parse_eve(chunk.data, chunk.first_line)
        self._problems.take(chunk, result.lines, result.problems)
        self._facts.add(result.facts)
        frame = self._facts.join(result.flows if result.flows.height else no_flows())
        bookmark = Bookmark(json.dumps(self._tail.place()), self._facts.packer(), self._facts.version)
        return Piece(frame, bookmark)

    def _look_beside(self) -> None:
        """Say so, once, if it is the files of threads that are written to."""
        if self._clock() < self._hint_at:
            return
        self._hint_at = self._clock() + _HINT_SECONDS
        newest, written = _newest_of_threads(self._path) or (None, 0)
        # A rotated file may be called like one of a thread; but it is older.
        if newest is not None and written > _modified(self._path) + _HINT_SECONDS * 1e9:
            pattern = _pattern_of(self._path)
            self._tail.problems.append(
                f"{self._path}: it is {newest.name} that is written to; if Suricata's threads have a file each,"
                f" give --eve '{pattern}'"
            )
            self._hint_at = float("inf")

    def problems(self) -> list[str]:
        """See `FollowedSource`."""
        return self._problems.given(self._tail.problems)

    def counters(self) -> dict[str, int]:
        """See `FollowedSource`."""
        return {**self._problems.counters, "facts_dropped": self._facts.dropped}

    def close(self) -> None:
        """See `FollowedSource`."""
        self._tail.close()


@dataclass(frozen=True, slots=True)
class _Held:
    """Flows of a chunk, which wait for what other threads tell of them."""

    flows: pl.DataFrame
    size: int
    place: dict[str, Any]
    """Of its file, behind the chunk."""
    until: float
    read_at: float


@dataclass(slots=True)
class _Thread:
    """A file of one thread."""

    tail: Tail
    place: dict[str, Any]
    """Behind what was given of it."""
    moment: float = float("-inf")
    """Seconds since 1970: what its last event that was read said."""
    held: deque[_Held] = field(default_factory=deque)


class EveThreads:
    """Follows the files that Suricata's threads write one each (threaded: true): eve.1.json, eve.2.json and so on.

    path: as suricata.yaml names them, without the number. A flow is often told by another thread than its http, dns
    and tls events, in another file. So the file that is behind, by its events' time, is read first, and a flow waits
    until all others were read past it or, at their ends, for `hold_seconds`.
    """

    def __init__(
        self,
        path: Path,
        *,
        hold_seconds: float = HOLD_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self.name = f"eve:{_pattern_of(path).absolute()}"
        self.ended = False
        self._hold_seconds = hold_seconds
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._threads: dict[str, _Thread] = {}
        self._looked: int | None = None
        self._look_at = float("-inf")
        self._held_bytes = 0
        self._facts = PendingFacts()
        self._problems = Problems()

    def resume(self, bookmark: Bookmark | None) -> None:
        """See `FollowedSource`."""
        if not self._path.parent.is_dir():
            raise InputError(str(self._path.parent), "is no folder", "give the folder that Suricata writes its logs to")
        if bookmark is not None:
            position = json.loads(bookmark.position)
            self._looked = int(position["looked"])
            for name, place in position["files"].items():
                self._follow(name).tail.resume(place)
                self._threads[name].place = place
            self._facts.unpack(bookmark.carry())
        self._look()

    def _follow(self, name: str) -> _Thread:
        path = self._path.with_name(name)
        tail = Tail(path, settle_seconds=self._settle_seconds, clock=self._clock, most_done=_MOST_DONE)
        self._threads[name] = _Thread(tail, tail.place())
        return self._threads[name]

    def _look(self) -> None:
        """Follow the files that are new, and what rotation made of such while nobody looked."""
        if self._clock() < self._look_at:
            return
        # What a flow waits for may be in a file that is new: no flow is given before the next look.
        self._look_at = self._clock() + min(_LOOK_SECONDS, self._hold_seconds)
        before, now = self._looked, time.time_ns() - _SLACK_NANOSECONDS
        found: dict[str, int] = {}
        for entry, name in _of_threads(self._path):
            is_new = name == entry.name or (before is not None and _modified(entry) >= before)
            if is_new and name not in self._threads:
                found[name] = min(_modified(entry), found.get(name, now))
        for name, modified in found.items():
            thread = self._follow(name)
            thread.tail.begin(modified if before is None else min(before, modified))
            thread.place = thread.tail.place()
        self._looked = now
        if len(self._threads) > _MOST_THREADS:
            raise InputError(
                str(_pattern_of(self._path)), f"are more than {_MOST_THREADS} files", "are these threads'?"
            )

    @property
    def backlog_bytes(self) -> int:
        """See `FollowedSource`."""
        return self._held_bytes + sum(thread.tail.backlog_bytes for thread in [*self._threads.values()])

    def read(self) -> Piece | None:
        """See `FollowedSource`."""
        self._look()
        frontier: float | None = float("-inf")
        for _ in range(_MOST_CHUNKS):
            if self._held_bytes >= _MOST_HELD_BYTES:
                break
            frontier = self._read_on()
            if frontier is None:
                break
        return self._given(frontier)

    def _read_on(self) -> float | None:
        """Read of the file that is behind; return the time all others have reached, None at all their ends."""
        size = max(CHUNK_BYTES // max(len(self._threads), 1), _LEAST_CHUNK_BYTES)
        for thread in sorted(self._threads.values(), key=lambda one: one.moment):
            chunk = thread.tail.read(size)
            if chunk is None:
                continue
            reached = thread.moment
            result = parse_eve(chunk.data, chunk.first_line)
            self._problems.take(chunk, result.lines, result.problems)
            self._facts.add(result.facts)
            thread.moment = _last_moment(chunk.data, reached)
            held = _Held(result.flows, len(chunk.data), thread.tail.place(), thread.moment, self._clock())
            thread.held.append(held)
            self._held_bytes += held.size
            return reached
        return None

    def _given(self, frontier: float | None) -> Piece | None:
        """Join what needs to wait no longer; a place is told once all before it was given."""
        given: list[_Held] = []
        now = self._clock()
        waited = frontier is None or self._held_bytes >= _MOST_HELD_BYTES
        for thread in self._threads.values():
            while thread.held:
                first = thread.held[0]
                is_over = waited and now - first.read_at >= self._hold_seconds
                if not is_over and (frontier is None or first.until > frontier):
                    break
                given.append(thread.held.popleft())
                thread.place = first.place
        if not given:
            return None
        self._held_bytes -= sum(one.size for one in given)
        given.sort(key=lambda one: one.until)
        frames = [one.flows for one in given if one.flows.height]
        frame = self._facts.join(pl.concat(frames) if frames else no_flows())
        position = {"files": {name: thread.place for name, thread in self._threads.items()}, "looked": self._looked}
        return Piece(frame, Bookmark(json.dumps(position), self._facts.packer(), self._facts.version))

    def problems(self) -> list[str]:
        """See `FollowedSource`."""
        of_files = [line for thread in self._threads.values() for line in thread.tail.problems]
        for thread in self._threads.values():
            thread.tail.problems.clear()
        return self._problems.given(of_files)

    def counters(self) -> dict[str, int]:
        """See `FollowedSource`."""
        return {**self._problems.counters, "files": len(self._threads), "facts_dropped": self._facts.dropped}

    def close(self) -> None:
        """See `FollowedSource`."""
        for thread in self._threads.values():
            thread.tail.close()


def _pattern_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.*{path.suffix}")


def _of_threads(path: Path) -> list[tuple[Path, str]]:
    """The files of threads beside `path`, and what rotation made of them, each with its first name."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    names = re.compile(rf"({stem}\.\d{{1,4}})({suffix})?([._-]\d.*)?")
    try:
        there = [(entry, match) for entry in path.parent.iterdir() if (match := names.fullmatch(entry.name))]
    except OSError:
        return []
    # Without the suffix and with no number behind it, it is nothing of these.
    return [(entry, match[1] + path.suffix) for entry, match in there if match[3] or match[2] is not None]


def _newest_of_threads(path: Path) -> tuple[Path, int] | None:
    """Of the files of threads beside `path` the one written to last, and when, in nanoseconds since 1970."""
    there = [(entry, _modified(entry)) for entry, name in _of_threads(path) if name == entry.name]
    return max(there, key=lambda one: one[1], default=None)


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _last_moment(lines: bytes, before: float) -> float:
    """What the last event with a time says, in seconds since 1970; `before` if none has one."""
    found = _MOMENT.findall(lines, max(len(lines) - _MOMENT_BYTES, 0))
    try:
        return datetime.fromisoformat(found[-1].decode()).timestamp() if found else before
    except (ValueError, OverflowError):
        return before
