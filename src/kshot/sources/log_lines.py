"""Reads line logs in blocks: unpacked, parsed in threads, each bad line named and counted."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from ipaddress import AddressValueError, IPv6Address
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.sources.compressed import ByteStream
from kshot.sources.json_lines import scan_json
from kshot.sources.json_paths import JsonPaths
from kshot.sources.line_spans import BLANK, FAULTS, GOOD, WRONG_FIELDS, ZERO_BYTE, Spans, count_lines
from kshot.sources.log_text import text_frame
from kshot.sources.log_values import ADDRESS, FieldTable, read_values
from kshot.sources.tab_lines import TabLayout, scan_tabs

BLOCK_BYTES = 4 << 20
"""Of one piece of work: what is made of it stays in the caches between the steps."""
MOST_LINE_BYTES = 4 << 20
"""A longer line is bad. Suricata's longest events, with payload and packet in base64, stay below 1 MiB."""
_TOO_LONG = f"is longer than {MOST_LINE_BYTES >> 20} MiB"
SLACK_BYTES = 64
"""Readable zeros that a block's buffer has behind its last line."""
_SHOWN_CHARACTERS = 60

OnProblem = Callable[[str], None]
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LogRecords:
    """The flows that logs tell of."""

    frame: pl.DataFrame
    """One row a flow in the order in which they were closed: the columns of FLOW_SCHEMA that a log can fill (none of
    the packet tier), then LOG_COLUMNS."""
    lines_read: int
    """Of all files, headers and lines of other logs among them."""
    records: int
    """Rows of `frame`."""
    bad_lines: int
    """Lines left out because they are damaged; each was reported once."""


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Whole lines: data[begin:end] ends with a newline, and zeros stand behind it."""

    data: bytearray
    begin: int
    end: int
    first_line: int
    """Number of the first line, from 1."""
    lines: int
    is_ascii: bool
    too_long: bool = False
    """It is the start of one line of more than `MOST_LINE_BYTES`."""

    @property
    def buffer(self) -> NDArray[np.uint8]:
        """The bytes of `data`."""
        return np.frombuffer(self.data, np.uint8)

    @classmethod
    def of(cls, data: bytearray, begin: int, end: int, first_line: int) -> LineBlock:
        """Make a block; `data` holds zeros behind `end`, and nothing else that matters."""
        return cls(data, begin, end, first_line, *count_lines(np.frombuffer(data, np.uint8), begin, end))

    def between(self, begin: int, end: int, first_line: int) -> LineBlock:
        """Return the part from `begin` to `end`, which are line borders."""
        part = self.of(self.data, begin, end, first_line)
        return replace(part, too_long=self.too_long)


def line_blocks(stream: ByteStream) -> Iterator[LineBlock]:
    """Give the lines of an open stream in blocks; a last line without a newline gets one.

    Raises:
        InputError: reading fails, or the stream swells like a decompression bomb.
    """
    kept = b""
    line = 1
    skipping = False
    more = True
    while more:
        filled = len(kept)
        size = filled + BLOCK_BYTES
        data = bytearray(size + SLACK_BYTES)
        data[:filled] = kept
        view = memoryview(data)
        while filled < size:
            count = stream.readinto(view[filled:size])
            if not count:
                more = False
                break
            filled += count
        view.release()
        if not more and filled and data[filled - 1] != 10:
            data[filled] = 10
            filled += 1
        begin = 0
        if skipping:  # the rest of a line that was too long
            begin = data.find(b"\n", 0, filled) + 1
            if begin == 0:
                kept = b""
                continue
            skipping = False
            line += 1
        end = data.rfind(b"\n", begin, filled) + 1
        end = max(end, begin)
        if end > begin:
            block = LineBlock.of(data, begin, end, line)
            yield block
            line += block.lines
        kept = bytes(data[end:filled])
        if len(kept) > MOST_LINE_BYTES:
            shown = bytearray(kept[:_SHOWN_CHARACTERS].replace(b"\n", b"") + b"\n" + bytes(SLACK_BYTES))
            yield LineBlock(shown, 0, len(shown) - SLACK_BYTES, line, 1, True, too_long=True)
            kept = b""
            skipping = True


@dataclass(slots=True)
class Parsed:
    """What a block's lines hold; for as long as the thread parses no other, for `spans` is its room."""

    block: LineBlock
    table: FieldTable
    spans: Spans
    logs: NDArray[np.int64]
    """(n,) which log each line is of; -1: none that is wanted, or a bad line."""
    values: NDArray[np.int64]
    faults: NDArray[np.int16]
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Line number and what is wrong there."""

    def numbers(self, name: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the values of a field in `rows`."""
        values: NDArray[np.int64] = self.values[self.table.index(name)]
        return values if len(rows) == len(values) else values[rows]

    def rows(self, log: int) -> NDArray[np.int64]:
        """Return the good lines of one log."""
        return np.flatnonzero((self.logs == log) & (self.faults == 0)).astype(np.int64)

    def text(self, columns: dict[str, str], rows: NDArray[np.int64]) -> pl.DataFrame:
        """Return text columns (name to field) of `rows`."""
        at = {name: self.table.index(wanted) for name, wanted in columns.items()}
        return text_frame(self.block.buffer, self.spans, rows, at)

    def shown(self, row: int, column: int) -> str:
        """Return a value as it may stand in a message."""
        raw = bytes(self.block.data[self.spans.begins[row, column] : self.spans.ends[row, column]])
        return _shown(raw)


def _shown(raw: bytes) -> str:
    text = ascii(raw[: _SHOWN_CHARACTERS + 1].decode("utf-8", "replace"))[1:-1]
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


_ROOMS = threading.local()


def _room(rows: int, columns: int) -> Spans:
    """Give the thread's own room for spans, enlarged if need be: fresh pages for each block would cost a fifth."""
    room: Spans | None = getattr(_ROOMS, "spans", None)
    if room is None or room.begins.shape[0] < rows or room.begins.shape[1] != columns:
        room = _ROOMS.spans = Spans.of(rows + rows // 4, columns)
    return room.first(rows)


LogOf = Callable[[Parsed], NDArray[np.int64]]
"""Tells which log each line is of, from the spans alone."""


def parse_block(block: LineBlock, table: FieldTable, layout: JsonPaths | TabLayout, log_of: LogOf) -> Parsed:
    """Scan and read the lines of a block; what is wrong with the bad ones stands in `problems`."""
    n, width = block.lines, len(table.fields)
    logs = np.full(n, -1, np.int64)
    values = np.empty((width, n), np.int64)
    parsed = Parsed(block, table, _room(n, width), logs, values, np.zeros(n, np.int16))
    if block.too_long:
        parsed.problems.append((block.first_line, _TOO_LONG))
        return parsed
    if isinstance(layout, JsonPaths):
        scan_json(block.buffer, block.begin, block.end, layout, parsed.spans)
    else:
        scan_tabs(block.buffer, block.begin, block.end, layout, parsed.spans)
    _blame_lines(parsed)
    logs[:] = np.where(parsed.spans.statuses == GOOD, log_of(parsed), -1)
    read_values(block.buffer, parsed.spans, logs, table.traits, values, parsed.faults)
    _check_addresses(parsed)
    _blame_values(parsed)
    parsed.problems.sort()
    return parsed


def _blame_lines(parsed: Parsed) -> None:
    """Note the lines that could not be scanned, those that are too long, and those that are no UTF-8."""
    block = parsed.block
    for row in np.flatnonzero(parsed.spans.lines[:, 1] - parsed.spans.lines[:, 0] > MOST_LINE_BYTES).tolist():
        parsed.spans.statuses[row] = BLANK
        parsed.problems.append((block.first_line + row, _TOO_LONG))
    for row in np.flatnonzero((parsed.spans.statuses != GOOD) & (parsed.spans.statuses != BLANK)).tolist():
        status = int(parsed.spans.statuses[row])
        if status == WRONG_FIELDS:
            what = f"has {int(parsed.spans.begins[row, 0])} fields, not as many as its header"
        else:
            what = FAULTS[status]
        line = bytes(block.data[parsed.spans.lines[row, 0] : parsed.spans.lines[row, 0] + _SHOWN_CHARACTERS + 1])
        begin = _shown(line.split(b"\n", 1)[0])
        parsed.problems.append((block.first_line + row, f"{what}: {begin}"))
    if not block.is_ascii:
        places = np.flatnonzero(block.buffer[block.begin : block.end] >= 128) + block.begin
        for row in np.unique(np.searchsorted(parsed.spans.lines[:, 1], places)).tolist():
            if parsed.spans.statuses[row] != GOOD:
                continue
            try:
                block.data[parsed.spans.lines[row, 0] : parsed.spans.lines[row, 1]].decode("utf-8")
            except UnicodeDecodeError as error:
                parsed.spans.statuses[row] = ZERO_BYTE
                parsed.problems.append((block.first_line + row, f"is not UTF-8 at byte {error.start + 1}"))


def _check_addresses(parsed: Parsed) -> None:
    """Mark what only looks like an IPv6 address as bad."""
    for column, wanted in enumerate(parsed.table.fields):
        if wanted.kind != ADDRESS:
            continue
        rows = np.flatnonzero((parsed.logs >= 0) & (parsed.faults == 0) & (parsed.values[column] == 6))
        if not len(rows):
            continue
        known: dict[bytes, bool] = {}
        for row in rows.tolist():
            raw = bytes(parsed.block.data[parsed.spans.begins[row, column] : parsed.spans.ends[row, column]])
            fine = known.get(raw)
            if fine is None:
                try:
                    IPv6Address(raw.decode("ascii").split("%", 1)[0])
                    fine = True
                except (AddressValueError, UnicodeDecodeError):
                    fine = False
                known[raw] = fine
            if not fine:
                parsed.faults[row] = column + 1


def _blame_values(parsed: Parsed) -> None:
    for row in np.flatnonzero((parsed.faults != 0) & (parsed.logs >= 0)).tolist():
        fault = int(parsed.faults[row])
        name = parsed.table.fields[abs(fault) - 1].name
        what = f"{name} cannot be {parsed.shown(row, fault - 1)}" if fault > 0 else f"has no {name}"
        parsed.problems.append((parsed.block.first_line + row, what))


def _canonical(address: IPv6Address) -> str:
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else f"::ffff:{mapped}"


def canonical_addresses(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """Write the IPv6 addresses of the columns as RFC 5952 does, without zone."""
    for name in names:
        is_v6 = frame[name].str.contains(":", literal=True)
        if not is_v6.any():
            continue
        found = frame[name].filter(is_v6).unique()
        texts = [_canonical(IPv6Address(text.split("%", 1)[0])) for text in found]
        frame = frame.with_columns(pl.col(name).replace(found, pl.Series(texts, dtype=pl.String)))
    return frame


def in_threads(work: Callable[[S], T], pieces: Iterable[S]) -> Iterator[T]:
    """Apply `work` to each piece, in order, a few at a time: the kernels and polars run without Python's lock."""
    threads = min(4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[T]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@dataclass(slots=True)
class Tally:
    """Lines counted and problems told, over all files of a reading."""

    on_problem: OnProblem | None
    lines: int = 0
    bad_lines: int = 0

    def tell(self, what: str) -> None:
        """Tell of a problem that is no line's."""
        if self.on_problem is not None:
            self.on_problem(what)

    def take(self, name: str, lines: int, problems: Iterable[tuple[int, str]]) -> None:
        """Count lines read and tell what is wrong with the bad ones."""
        self.lines += lines
        for line, what in problems:
            self.bad_lines += 1
            self.tell(f"{name}:{line}: {what}")

    def end(self, stream: ByteStream) -> None:
        """Tell if a stream ended early."""
        if stream.damage is not None:
            self.tell(f"{stream.name}: {stream.damage}; the lines before it are used")
