"""Zeek's log folder, followed through rotation, facts joined to flows."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from kshot.errors import InputError
from kshot.records.streams import Bookmark, Piece
from kshot.sources.pending import PendingFacts
from kshot.sources.tail import CHUNK_BYTES, SETTLE_SECONDS, Chunk, Tail
from kshot.sources.zeek import ZeekLines
from kshot.sources.zeek_fields import LOGS, no_connections

HOLD_SECONDS = 1.0
"""A connection waits so long for what the other logs tell of it: each is written by a thread of its own."""
MOST_PROBLEMS = 20
"""Damaged lines told one by one between two calls of `problems`; the rest are counted."""
_MOST_CHUNKS = 8
"""Of each log of facts, read for one chunk of connections."""
_SERVICES = {"http": "http", "dns": "dns", "ssl": "ssl"}


class Problems:
    """What went wrong, as lines, and how many lines were left out."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter({"lines_read": 0, "bad_lines": 0})
        self._told: list[str] = []
        self._more = 0

    def take(self, chunk: Chunk, lines: int, problems: list[tuple[int, str]]) -> None:
        """Count the lines of a chunk and note what is wrong with the bad ones."""
        self.counters["lines_read"] += lines
        self.counters["bad_lines"] += len(problems)
        room = max(MOST_PROBLEMS - len(self._told), 0)
        self._told += [f"{chunk.name}:{line}: {what}" for line, what in problems[:room]]
        self._more += max(len(problems) - room, 0)

    def given(self, of_files: list[str]) -> list[str]:
        """What was noted since the last call, and what is wrong with files."""
        told = [*self._told, *of_files]
        if self._more:
            told.append(f"{self._more:,} more damaged lines are left out")
        self._told, self._more = [], 0
        of_files.clear()
        return told


class ZeekFolder:
    """Follows conn.log in a folder that Zeek writes to, with http.log, dns.log and ssl.log beside it, TSV or JSON.

    Rotated logs are looked for in the folder itself and, as zeekctl keeps them, in folders beside it that are named
    by a date. Raises `InputError` on `resume` if the folder is not there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        hold_seconds: float = HOLD_SECONDS,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self.name = f"zeek:{folder.absolute()}"
        self.ended = False
        self._hold_seconds = hold_seconds
        self._clock = clock
        self._tails = {log: Tail(folder / f"{log}.log", self._archives, settle_seconds, clock) for log in LOGS}
        self._lines: dict[str, ZeekLines] = {}
        self._held: tuple[Chunk, float] | None = None
        self._conn: dict[str, Any] | None = None
        self._facts = PendingFacts()
        self._problems = Problems()

    def resume(self, bookmark: Bookmark | None) -> None:
        """See `FollowedSource`."""
        if not self._folder.is_dir():
            raise InputError(str(self._folder), "is no folder", "give the folder that Zeek writes its logs to")
        places = json.loads(bookmark.position) if bookmark is not None else {}
        for log, tail in self._tails.items():
            tail.resume(places.get(log))
        self._conn = self._tails["conn"].place()
        if bookmark is not None:
            self._facts.unpack(bookmark.carry())

    @property
    def backlog_bytes(self) -> int:
        """See `FollowedSource`."""
        held = len(self._held[0].data) if self._held else 0
        return held + self._tails["conn"].backlog_bytes

    def read(self) -> Piece | None:
        """See `FollowedSource`."""
        if self._held is None:
            chunk = self._tails["conn"].read(CHUNK_BYTES)
            if chunk is None:
                return None
            self._held = chunk, self._clock()
        chunk, read_at = self._held
        # Where more lies behind it, all that belongs to it was written long ago.
        if len(chunk.data) < CHUNK_BYTES // 2 and self._clock() - read_at < self._hold_seconds:
            return None
        self._held = None
        self._conn = self._tails["conn"].place()
        flows = self._parse("conn", chunk)
        frame = pl.concat(flows) if flows else no_connections()
        for log, service in _SERVICES.items():
            self._read_facts(log, frame.filter(frame["log_service"].str.contains(service, literal=True))["log_uid"])
        return Piece(self._facts.join(frame), self._bookmark())

    def _read_facts(self, log: str, wanted: pl.Series) -> None:
        """Read a log of facts to its end, or until it has told of all that is wanted."""
        for _ in range(_MOST_CHUNKS):
            chunk = self._tails[log].read(CHUNK_BYTES)
            if chunk is None:
                return
            self._parse(log, chunk)
            if not len(self._facts.lacking(wanted)):
                return

    def _parse(self, log: str, chunk: Chunk) -> list[pl.DataFrame]:
        if chunk.begins_file or log not in self._lines:
            header = b"" if chunk.begins_file else self._tails[log].header()
            self._lines[log] = ZeekLines(chunk.name, header)
        found = self._lines[log].parse(chunk.data, chunk.first_line)
        for result in found:
            self._problems.take(chunk, result.lines, result.problems)
            self._facts.add(result.facts)
        return [result.flows for result in found if result.flows is not None and result.flows.height]

    def _bookmark(self) -> Bookmark:
        places = {log: tail.place() for log, tail in self._tails.items()}
        return Bookmark(json.dumps(places | {"conn": self._conn}), self._facts.packer(), self._facts.version)

    def _archives(self) -> list[Path]:
        try:
            beside = sorted(self._folder.resolve().parent.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"))
        except OSError:
            return []
        return beside[-2:]

    def problems(self) -> list[str]:
        """See `FollowedSource`."""
        of_files = [line for tail in self._tails.values() for line in tail.problems]
        for tail in self._tails.values():
            tail.problems.clear()
        return self._problems.given(of_files)

    def counters(self) -> dict[str, int]:
        """See `FollowedSource`."""
        return {**self._problems.counters, "facts_dropped": self._facts.dropped}

    def close(self) -> None:
        """See `FollowedSource`."""
        for tail in self._tails.values():
            tail.close()
