"""Read a table of records (CSV, TSV, Parquet, JSON), plain or packed; errors name the line."""

from __future__ import annotations

import csv
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from kshot.errors import InputError
from kshot.sources.apart import Undecodable, first_line, read_apart
from kshot.sources.compressed import ByteStream

_HEAD_BYTES = 1 << 16
_PIECE_BYTES = 1 << 20
_STRUCT_DEPTH = 4
_PARQUET_MAGIC = b"PAR1"
MOST_CELLS = 10_000_000
"""A CSV file may have so many, whatever its size; polars takes 5 s for the worst of them, 3,000 columns."""
CELLS_A_BYTE = 4
"""Beyond that a CSV file may have so many for each byte of it; a cell takes one at least but where a line is cut."""
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")


def read_table(path: str | Path) -> pl.DataFrame:
    """Read a whole table; the format is told by its content, then by its name.

    Nested JSON objects become columns named `outer.inner`. Bytes that are no UTF-8 become U+FFFD.

    Raises:
        InputError: unreadable, empty, not a table, a damaged line (named), two columns of one name.
    """
    with _plain(path) as (name, plain):
        try:
            return _read_plain(name, plain)
        except OSError as error:
            raise InputError(name, (error.strerror or str(error)).lower(), "check the path and its rights") from error


def _read_plain(name: str, plain: Path) -> pl.DataFrame:
    with plain.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        raise InputError(name, "is empty")
    if head.startswith(_PARQUET_MAGIC):
        frame = _read_parquet(name, plain)
    elif b"\0" in head:
        raise InputError(name, "is neither a capture nor a table", "give pcap, pcapng, CSV, TSV, Parquet or JSONL")
    elif text.startswith(b"{"):
        frame = _read_json(name, plain, lines=True)
    elif text.startswith(b"["):
        frame = _read_json(name, plain, lines=False)
    else:
        frame = _read_csv(name, plain, head)
    frame = _flatten(name, frame)
    if frame.height == 0:
        raise InputError(name, "holds a header and no records")
    return frame


@contextmanager
def _plain(path: str | Path) -> Iterator[tuple[str, Path]]:
    """Give the table's name for messages, and the path of its plain bytes: itself, or a temporary file."""
    with ByteStream(path) as stream:
        if stream.compression is None and stream.size_bytes is not None:
            yield stream.name, Path(path)
            return
        with tempfile.NamedTemporaryFile(prefix="kshot-") as unpacked:
            piece = memoryview(bytearray(_PIECE_BYTES))
            while count := stream.readinto(piece):
                unpacked.write(piece[:count])
            unpacked.flush()
            if stream.damage:
                raise InputError(
                    stream.name, f"{stream.damage} after {stream.produced_bytes:,} plain bytes", "get it whole"
                )
            yield stream.name, Path(unpacked.name)


def _read_parquet(name: str, plain: Path) -> pl.DataFrame:
    try:
        return read_apart(plain, name, "parquet")
    except Undecodable as error:
        raise InputError(name, f"is a damaged Parquet file ({error})") from error


def _read_json(name: str, plain: Path, *, lines: bool) -> pl.DataFrame:
    try:
        return read_apart(plain, name, "ndjson" if lines else "json")
    except Undecodable as error:
        _blame_json_line(name, plain, lines=lines)
        raise InputError(name, f"is not {'JSON lines' if lines else 'JSON'} ({error})") from error


def _blame_json_line(name: str, plain: Path, *, lines: bool) -> None:
    """Raise for the first line that is no JSON object; return when all are."""
    if not lines:
        return
    with plain.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except RecursionError as error:
                raise InputError(f"{name}, line {number}", "is nested too deep") from error
            except ValueError as error:
                what = getattr(error, "msg", str(error))
                raise InputError(f"{name}, line {number}", f"is not JSON ({what})") from error
            if not isinstance(value, dict):
                raise InputError(f"{name}, line {number}", "is not a JSON object")


def _read_csv(name: str, plain: Path, head: bytes) -> pl.DataFrame:
    separator = _separator(head)
    _check_header(name, plain, separator)
    damage: Exception | None = None
    # The first 10,000 lines usually tell the types; when a later line disagrees, all of them are looked at.
    for infer in (10_000, None):
        try:
            return pl.read_csv(
                plain,
                separator=separator,
                infer_schema_length=infer,
                encoding="utf8-lossy",
                glob=False,
                null_values=["", "NaN", "nan"],
            )
        except PolarsError as error:
            damage = error
    _blame_csv_line(name, plain, separator)
    assert damage is not None
    raise InputError(name, f"is not a CSV table ({first_line(damage)})") from damage


def _separator(head: bytes) -> str:
    """The separator that the header line holds most of; a comma where it holds none."""
    line = head.split(b"\n", 1)[0]
    counts = {separator: line.count(separator.encode()) for separator in (",", "\t", ";", "|")}
    best = max(counts, key=lambda separator: counts[separator])
    return best if counts[best] else ","


def _check_header(name: str, plain: Path, separator: str) -> None:
    """Raise for a header that names a column twice, and for one so wide that short lines below it fill the memory."""
    with plain.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            header = next(csv.reader(file, delimiter=separator), [])
        except csv.Error as error:
            raise InputError(f"{name}, line 1", f"is not a CSV header ({error})") from error
    twice = [column for column, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{name}, line 1", f"two columns are named {twice[0]!r}", "rename one")
    size = plain.stat().st_size
    most_lines = max(MOST_CELLS, CELLS_A_BYTE * size) // max(len(header), 1)
    if size > most_lines and _lines(plain) > most_lines:
        raise InputError(name, f"has {len(header):,} columns and hardly a value in them", "name the columns it uses")


def _lines(plain: Path) -> int:
    with plain.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(_PIECE_BYTES), b""))


def _blame_csv_line(name: str, plain: Path, separator: str) -> None:
    """Raise for the first record that has more fields than the header; return when none has."""
    with plain.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        width = len(next(reader, []))
        try:
            for row in islice(reader, 50_000_000):
                if len(row) > width:
                    raise InputError(f"{name}, line {reader.line_num}", f"has {len(row)} fields, the header {width}")
        except csv.Error as error:
            raise InputError(f"{name}, line {reader.line_num}", str(error)) from error


def _flatten(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Turn nested objects into columns named outer.inner, to a depth of `_STRUCT_DEPTH`."""
    for _ in range(_STRUCT_DEPTH):
        nested = [column for column, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
        if not nested:
            return frame
        columns: list[pl.Series] = []
        for series in frame:
            if series.name in nested:
                inner = series.struct.unnest()
                columns += [inner[field].alias(f"{series.name}.{field}") for field in inner.columns]
            else:
                columns.append(series)
        twice = [column for column, count in Counter(s.name for s in columns).items() if count > 1]
        if twice:
            raise InputError(name, f"two columns are named {twice[0]!r}", "rename one")
        frame = pl.DataFrame(columns)
    return frame.drop([column for column, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)])
