"""Reads Zeek's conn.log (TSV or JSON, rotated, packed) into flows; http, dns and ssl joined by uid."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from kshot.errors import InputError
from kshot.sources.compressed import ByteStream
from kshot.sources.json_paths import JsonPaths
from kshot.sources.log_files import head_of, json_objects_of, log_files
from kshot.sources.log_flows import as_log_frame, join_facts
from kshot.sources.log_lines import (
    SLACK_BYTES,
    LineBlock,
    LogOf,
    LogRecords,
    OnProblem,
    Tally,
    canonical_addresses,
    in_threads,
    line_blocks,
    parse_block,
)
from kshot.sources.tab_lines import TabLayout
from kshot.sources.zeek_fields import (
    CONN,
    FIELDS,
    LOGS,
    NEEDED_OF_CONN,
    PATHS,
    TELLING,
    connections_of,
    facts_of,
    json_logs,
    no_connections,
)

_DIRECTIVES = (b"#separator", b"#empty_field", b"#unset_field", b"#path", b"#fields")
_MOST_HEADER_BYTES = 1 << 16
_PACKED = ("", ".gz", ".zst", ".bz2", ".xz")


@dataclass(slots=True)
class _Reading:
    """What was read of all files so far."""

    tally: Tally
    connections: list[pl.DataFrame] = field(default_factory=list)
    facts: list[pl.DataFrame] = field(default_factory=list)
    logs: set[str] = field(default_factory=set)


def read_zeek(paths: Sequence[str | Path], *, on_problem: OnProblem | None = None) -> LogRecords:
    """Read conn.log files, folders of logs, or patterns; http, dns and ssl logs are joined by uid.

    They are taken from `paths` or, where a conn log lies alone, from beside it: the files of its own name with its
    own rotation suffix. `on_problem` gets one line for each damaged line ("file:line: what"), which is left out.

    Files are put in the order of their first record. `*_wire_bytes` are Zeek's IP bytes and 14 bytes of Ethernet
    header (and 4 for each VLAN tag) a packet. `*_bytes`, unset for connections of one packet, are then IP bytes less
    nominal headers (TCP: only with data in the history), and never more than that: Zeek reckons them from sequence
    numbers. `community_id` is null unless Zeek logs it. A duration that is unset is 0.

    Raises:
        InputError: a file cannot be read or is no Zeek log, or none of them is a conn.log.
    """
    reading = _Reading(Tally(on_problem))
    files = log_files(paths, _is_wanted)
    for file in files:
        _read_file(file, reading)
    for file in _beside(files):
        try:
            _read_file(file, reading)
        except InputError as error:  # nobody asked for it: what it would have told stays null
            reading.tally.tell(str(error))
    if LOGS[CONN] not in reading.logs:
        found = ", ".join(sorted(reading.logs)) or "nothing that is known"
        raise InputError(str(files[0]), f"is a Zeek log of {found}, not of connections", "give the conn.log")
    frames = sorted(reading.connections, key=lambda frame: frame["last_time"][0])
    frame = pl.concat(frames) if frames else no_connections()
    frame = as_log_frame(join_facts(canonical_addresses(frame, ("originator", "responder")), reading.facts))
    return LogRecords(frame, reading.tally.lines, frame.height, reading.tally.bad_lines)


def is_zeek(path: str | Path) -> bool:
    """Tell by its first lines, unpacked if need be, whether `path` is a log of Zeek's; a folder is if it holds one.

    Raises:
        InputError: the file cannot be read.
    """
    if Path(path).is_dir():
        return any(_is_wanted(file) for file in sorted(Path(path).iterdir()) if file.is_file())
    head = head_of(path)
    return _is_tab_log(head) or any(map(_is_json_record, json_objects_of(head)))


def _is_tab_log(head: bytes) -> bool:
    return re.search(rb"^#fields.", head, re.MULTILINE) is not None and head.startswith(b"#")


def _is_json_record(record: dict[str, object]) -> bool:
    """Whether it has what all of Zeek's logs of a connection have, or a streamed log's `_path`."""
    ends = "id.orig_h" in record or isinstance(record.get("id"), dict)
    return "ts" in record and (("uid" in record and ends) or "_path" in record)


def _is_wanted(file: Path) -> bool:
    """Whether it is a log of `LOGS`, told by its first header or record."""
    try:
        head = head_of(file)
    except InputError:
        return False
    if _is_tab_log(head):
        header = _Header()
        for line in head.split(b"\n"):
            if header.is_news(line) and not header.fields:
                header.take(line)
        return header.log is not None
    first = next(filter(_is_json_record, json_objects_of(head)), None)
    if first is None:
        return False
    return first["_path"] in LOGS if "_path" in first else any(n in first for _, names in TELLING for n in names)


def _beside(files: Sequence[Path]) -> list[Path]:
    """The http, dns and ssl logs that lie beside conn logs, of the same rotation."""
    found: list[Path] = []
    for file in files:
        if not re.match(r"conn([._-]|$)", file.name):
            continue
        rest = re.sub(r"\.(gz|zst|bz2|xz)$", "", file.name[len("conn") :])
        for log in LOGS[1:]:
            places = [file.with_name(log + rest + packed) for packed in _PACKED]
            found += [place for place in places if place.is_file() and place not in (*files, *found)][:1]
    return found


class _Header:
    """What the header lines above a stretch of records say."""

    def __init__(self) -> None:
        self._latest: dict[bytes, bytes] = {}
        self._start()

    def _start(self) -> None:
        self.separator = b"\t"
        self.empty = b"(empty)"
        self.unset = b"-"
        self.path = ""
        self.fields: list[str] = []
        self._latest.clear()

    def is_news(self, line: bytes) -> bool:
        """Whether it is a header line that is unlike the last of its kind; a rotated log repeats them."""
        directive = next((one for one in _DIRECTIVES if line.startswith(one)), None)
        return directive is not None and line.rstrip(b"\r\n") != self._latest.get(directive)

    def take(self, line: bytes) -> str | None:
        """Learn from one line that `is_news`; return what is wrong with it, if anything."""
        line = line.rstrip(b"\r\n")
        if line.startswith(b"#separator"):
            separator = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), line[len(b"#separator ") :])
            if len(separator) != 1 or separator in b"\r\n\0":
                return "the #separator is not one byte"
            self._start()
            self.separator = separator
        directive = next(one for one in _DIRECTIVES if line.startswith(one))
        self._latest[directive] = line
        name, _, value = line.partition(self.separator)
        if name == b"#empty_field":
            self.empty = value
        elif name == b"#unset_field":
            self.unset = value
        elif name == b"#path":
            self.path = value.decode("utf-8", "replace")
            self.fields = []
            self._latest.pop(b"#fields", None)
        elif name == b"#fields":
            self.fields = [text.decode("utf-8", "replace") for text in value.split(self.separator)]
        return None

    @property
    def log(self) -> int | None:
        """Which of `LOGS` it heads; None if another."""
        if not self.fields:
            return None
        if self.path in LOGS:
            return LOGS.index(self.path)
        if "uid" not in self.fields:
            return None
        return next((log for log, names in TELLING if names[0] in self.fields and names[1] in self.fields), None)

    def layout(self) -> TabLayout:
        """Return how the records below lie."""
        columns = {wanted.name: column for column, wanted in enumerate(FIELDS.fields) if wanted.name != "_path"}
        column_of_field = np.array([columns.get(name, -1) for name in self.fields], np.int32)
        unset, empty = (np.frombuffer(text, np.uint8) for text in (self.unset, self.empty))
        return TabLayout(self.separator[0], column_of_field, unset, empty)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Lines of one layout."""

    block: LineBlock
    layout: TabLayout | JsonPaths | None
    """None where nothing is wanted of them."""
    log: int | None
    """Which of `LOGS`; None where each line says so itself."""
    fault: str | None = None
    """What is wrong with every one of them that is no header or comment, or with the one header line that it is."""
    is_header: bool = False


@dataclass(frozen=True, slots=True)
class ZeekResult:
    """What some lines hold: flows (None where none can be), facts of flows, and what is wrong with bad lines."""

    lines: int
    problems: list[tuple[int, str]]
    logs: set[str]
    flows: pl.DataFrame | None
    facts: list[pl.DataFrame]


def _read_file(path: Path, reading: _Reading) -> None:
    head = head_of(path)
    is_tab = _is_tab_log(head)
    if not is_tab and not any(map(_is_json_record, json_objects_of(head))):
        raise InputError(str(path), "is not a Zeek log (no #fields line, no JSON record of Zeek's)", "give a conn.log")
    connections: list[pl.DataFrame] = []
    with ByteStream(path) as stream:
        blocks = line_blocks(stream)
        pieces = _tab_pieces(stream.name, blocks) if is_tab else (_Piece(block, PATHS, None) for block in blocks)
        for result in in_threads(_work, pieces):
            reading.tally.take(stream.name, result.lines, result.problems)
            reading.logs |= result.logs
            reading.facts += result.facts
            if result.flows is not None and result.flows.height:
                connections.append(result.flows)
        reading.tally.end(stream)
    if connections:
        reading.connections.append(pl.concat(connections))


def _work(piece: _Piece) -> ZeekResult:
    block, log = piece.block, piece.log
    if piece.layout is None:
        problems = []
        if piece.fault is not None:
            lines = bytes(block.data[block.begin : block.end]).split(b"\n")
            told = [row for row, text in enumerate(lines) if text.strip() and (piece.is_header or text[0] != 35)]
            problems = [(block.first_line + row, piece.fault) for row in told]
        return ZeekResult(block.lines, problems, set(), None, [])
    parsed = parse_block(block, FIELDS, piece.layout, json_logs if log is None else _all_of(log))
    found = set(np.unique(parsed.logs).tolist()) - {-1} if log is None else {log}
    return ZeekResult(
        block.lines,
        parsed.problems,
        {LOGS[one] for one in found},
        connections_of(parsed) if CONN in found else None,
        [facts_of(parsed, one) for one in found if one != CONN],
    )


def _all_of(log: int) -> LogOf:
    return lambda parsed: np.full(len(parsed.logs), log, np.int64)


class ZeekLines:
    """Reads the lines of one growing log as they come; a header holds until the next one."""

    def __init__(self, name: str, header: bytes = b"") -> None:
        """header: the comment lines above, where reading begins further down."""
        self._name = name
        self._header = _Header()
        for line in header.splitlines():
            if self._header.is_news(line):
                self._header.take(line)

    def parse(self, data: bytes, first_line: int) -> list[ZeekResult]:
        """Return what whole lines, each with its newline, tell of.

        Raises:
            InputError: the header lacks what every conn.log has.
        """
        block = LineBlock.of(bytearray(data) + bytes(SLACK_BYTES), 0, len(data), first_line)
        is_tab = bool(self._header.fields) or data.startswith(b"#")
        pieces = _tab_pieces(self._name, iter([block]), self._header) if is_tab else [_Piece(block, PATHS, None)]
        return [_work(piece) for piece in pieces]


def _tab_pieces(name: str, blocks: Iterator[LineBlock], header: _Header | None = None) -> Iterator[_Piece]:
    """Cut blocks at the header lines that change how the lines below them lie."""
    header = _Header() if header is None else header
    layout = _layout(name, header) if header.fields else None
    for block in blocks:
        at, line = block.begin, block.first_line
        while at < block.end:
            border = _next_header(block, at, header)
            if border > at:
                part = block.between(at, border, line)
                yield _Piece(part, layout, header.log, None if header.fields else "stands before the #fields line")
                at, line = border, line + part.lines
            if at < block.end:
                end = block.data.index(b"\n", at) + 1
                fault = header.take(bytes(block.data[at:end]))
                layout = _layout(f"{name}:{line}", header)
                yield _Piece(block.between(at, end, line), None, None, fault, is_header=True)
                at, line = end, line + 1


def _next_header(block: LineBlock, at: int, header: _Header) -> int:
    """Where the next line begins that tells `header` something new; the block's end if none does."""
    while at < block.end:
        if block.data[at] == 35 and not block.too_long:
            end = block.data.index(b"\n", at) + 1
            if header.is_news(bytes(block.data[at : min(end, at + _MOST_HEADER_BYTES)])):
                return at
            at = end
        else:
            # One byte is found ten times faster than two; where it stands in a record, two are looked for.
            first = block.data.find(b"#", at, block.end)
            at = block.data.find(b"\n#", max(first - 1, at), block.end) + 1 or block.end if first >= 0 else block.end
    return block.end


def _layout(where: str, header: _Header) -> TabLayout | None:
    if header.log is None:
        return None
    if header.log == CONN:
        lacking = [name for name in NEEDED_OF_CONN if name not in header.fields]
        if lacking:
            raise InputError(where, f"the #fields lack {lacking[0]}", "give a conn.log with Zeek's default fields")
    return header.layout()
