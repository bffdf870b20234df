"""JSON lines on standard input: EVE events, Zeek's JSON logs, or flows of `kshot flows`."""

from __future__ import annotations

import json
import os
import select
import stat
from collections.abc import Mapping
from typing import Any

import polars as pl

from kshot.errors import InputError
from kshot.records.flows import FLOW_SCHEMA
from kshot.records.streams import Bookmark, Piece
from kshot.sources.followed_logs import Problems
from kshot.sources.log_files import json_objects_of
from kshot.sources.pending import PendingFacts
from kshot.sources.suricata import parse_eve
from kshot.sources.tail import CHUNK_BYTES, Chunk, digest
from kshot.sources.zeek import ZeekLines
from kshot.sources.zeek_fields import no_connections

_HEAD_BYTES = 4096
_MOST_LINE_BYTES = 4 << 20
_JSON_TYPES = (pl.Binary, pl.Enum, pl.Datetime)
"""Types that JSON has no form of: they come as text."""
FLOW_LINE_SCHEMA: dict[str, pl.DataType] = {
    name: pl.String() if isinstance(dtype, _JSON_TYPES) else dtype for name, dtype in FLOW_SCHEMA.items()
}
"""How a line of `kshot flows -o jsonl` reads: bytes as hex, times as text."""


class StandardInput:
    """Follows JSON lines from a pipe or a file on a descriptor; what they are is told by the first of them.

    A file is gone on with where its bookmark stands. A pipe cannot be read twice: what was read and not kept is lost
    when the process is killed, and its writer should then send again.
    """

    name = "standard input"

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self.ended = False
        self._is_file = False
        self._offset = 0
        self._lines = 0
        self._head = b""
        self._kept = b""
        self._kind = ""
        self._zeek = ZeekLines(self.name)
        self._facts = PendingFacts()
        self._problems = Problems()

    def resume(self, bookmark: Bookmark | None) -> None:
        """See `FollowedSource`."""
        try:
            self._is_file = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        except OSError as error:
            raise InputError(self.name, "is closed", "pipe JSON lines into '-'") from error
        if os.isatty(self._descriptor):
            raise InputError(self.name, "nothing is piped in", "pipe JSON lines into '-'")
        if bookmark is None or not self._is_file:
            return
        place: Mapping[str, Any] = json.loads(bookmark.position)
        head = os.pread(self._descriptor, place["head_bytes"], 0)
        if place["head_bytes"] and len(head) == place["head_bytes"] and digest(head, len(head)) == place["head"]:
            os.lseek(self._descriptor, place["offset"], os.SEEK_SET)
            self._offset, self._lines, self._kind, self._head = place["offset"], place["lines"], place["kind"], head
            self._facts.unpack(bookmark.carry())

    @property
    def backlog_bytes(self) -> int:
        """See `FollowedSource`."""
        return max(os.fstat(self._descriptor).st_size - self._offset, 0) if self._is_file else 0

    def read(self) -> Piece | None:
        """See `FollowedSource`. Raises `InputError` where the first line is none that we know."""
        if self.ended:
            return None
        if not self._is_file and not select.select([self._descriptor], [], [], 0)[0]:
            return None
        data = os.read(self._descriptor, CHUNK_BYTES)
        if not data:
            self.ended = True
            data = b"\n" if self._kept else b""
        whole = self._kept + data
        end = whole.rfind(b"\n") + 1
        self._kept = whole[end:]
        if len(self._kept) > _MOST_LINE_BYTES:
            raise InputError(f"{self.name}:{self._lines + 1}", "a line is longer than 4 MiB", "send JSON lines")
        return self._piece(whole[:end]) if end else None

    def _piece(self, data: bytes) -> Piece:
        if not self._kind:
            self._kind = _kind_of(data)
        chunk = Chunk(data, self.name, self._lines + 1, False)
        self._lines += data.count(b"\n")
        self._offset += len(data)
        if len(self._head) < _HEAD_BYTES:
            self._head = (self._head + data)[:_HEAD_BYTES]
        frame = self._frame(chunk)
        position = {
            "head": digest(self._head, len(self._head)), "head_bytes": len(self._head), "offset": self._offset,
            "lines": self._lines, "kind": self._kind,
        }  # fmt: skip
        return Piece(frame, Bookmark(json.dumps(position), self._facts.packer(), self._facts.version))

    def _frame(self, chunk: Chunk) -> pl.DataFrame:
        if self._kind == "flows":
            return self._flows(chunk)
        flows = []
        for result in (
            [parse_eve(chunk.data, chunk.first_line)]
            if self._kind == "eve"
            else self._zeek.parse(chunk.data, chunk.first_line)
        ):
            self._problems.take(chunk, result.lines, result.problems)
            self._facts.add(result.facts)
            flows += [result.flows] if result.flows is not None and result.flows.height else []
        return self._facts.join(pl.concat(flows) if flows else no_connections())

    def _flows(self, chunk: Chunk) -> pl.DataFrame:
        rows: list[dict[str, Any]] = []
        problems: list[tuple[int, str]] = []
        lines = chunk.data.split(b"\n")[:-1]
        for number, line in enumerate(lines, chunk.first_line):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict) or not row.keys() >= FLOW_LINE_SCHEMA.keys():
                    raise ValueError("lacks columns of a flow")
                pl.DataFrame([row], schema=FLOW_LINE_SCHEMA) if _is_odd(row) else None
                rows.append(row)
            except (ValueError, TypeError, RecursionError, OverflowError, pl.exceptions.PolarsError) as error:
                problems.append((number, " ".join(str(error).split())[:80]))
        self._problems.take(chunk, len(lines), problems)
        return pl.DataFrame(rows, schema=FLOW_LINE_SCHEMA, orient="row")

    def problems(self) -> list[str]:
        """See `FollowedSource`."""
        return self._problems.given([])

    def counters(self) -> dict[str, int]:
        """See `FollowedSource`."""
        return {**self._problems.counters, "facts_dropped": self._facts.dropped}

    def close(self) -> None:
        """See `FollowedSource`: the descriptor is not ours to close."""


def _is_odd(row: Mapping[str, Any]) -> bool:
    """Whether a value is of a type that its column may refuse: such a row is tried alone."""
    for name, dtype in FLOW_LINE_SCHEMA.items():
        value = row[name]
        fits = (
            value is None
            or (isinstance(value, str) if dtype == pl.String else False)
            or (isinstance(value, list) if isinstance(dtype, pl.List) else False)
            or (isinstance(value, int | float) if dtype.is_float() else False)
            or (isinstance(value, int) and 0 <= value < 1 << 31 if dtype.is_integer() else False)
        )
        if not fits or isinstance(value, list):
            return True
    return False


def _kind_of(data: bytes) -> str:
    """What the first JSON object among the lines is."""
    for value in json_objects_of(data):
        if isinstance(value.get("event_type"), str):
            return "eve"
        if value.keys() >= FLOW_LINE_SCHEMA.keys():
            return "flows"
        if "ts" in value and ("uid" in value or "_path" in value):
            return "zeek"
        break
    raise InputError(
        StandardInput.name,
        "its first line is no EVE event, no JSON log of Zeek's and no flow of kshot's",
        "pipe in one of these, such as: kshot flows x.pcap -o jsonl",
    )
