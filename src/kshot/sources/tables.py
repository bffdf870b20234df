"""Read a table of records: CSV, TSV, Parquet, JSON lines or a JSON array, plain or compressed; errors name the line."""

from __future__ import annotations

import csv
import gzip
import json
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, cast

import polars as pl
from polars.exceptions import PolarsError

from kshot.errors import InputError

_HEAD_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20
_BOMB_BYTES = 32 << 20
"""How much a compressed table may unpack to before its ratio is looked at."""
_BOMB_RATIO = 200
"""Logs shrink 10 to 50 times; zeros shrink 1,000 times with gzip."""
_STRUCT_DEPTH = 4
_GZIP_MAGIC, _ZSTD_MAGIC, _PARQUET_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")


def read_table(path: str | Path) -> pl.DataFrame:
    """Read a whole table; the format is told by its content, then by its name.

    Nested JSON objects become columns named `outer.inner`. Bytes that are no UTF-8 become U+FFFD.

    Raises:
        InputError: unreadable, empty, not a table, a damaged line (named), two columns of one name.
    """
    path = Path(path)
    try:
        with _plain(path) as plain:
            return _read_plain(path, plain)
    except OSError as error:
        raise InputError(str(path), (error.strerror or str(error)).lower()) from error


def _read_plain(path: Path, plain: Path) -> pl.DataFrame:
    with plain.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not text:
        raise InputError(str(path), "is empty")
    if head.startswith(_PARQUET_MAGIC):
        frame = _read_parquet(path, plain)
    elif b"\0" in head:
        raise InputError(str(path), "is neither a capture nor a table", "give pcap, pcapng, CSV, TSV, Parquet or JSONL")
    elif text.startswith(b"{"):
        frame = _read_json(path, plain, lines=True)
    elif text.startswith(b"["):
        frame = _read_json(path, plain, lines=False)
    else:
        frame = _read_csv(path, plain, head)
    frame = _flatten(path, frame)
    if frame.height == 0:
        raise InputError(str(path), "holds a header and no records")
    return frame


@contextmanager
def _plain(path: Path) -> Iterator[Path]:
    """Give the path of the table unpacked: `path` itself, or a temporary file."""
    if path.is_dir():
        raise InputError(str(path), "is a folder", "name the files in it")
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == _GZIP_MAGIC:
        unpack: Callable[[IO[bytes]], IO[bytes]] = lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file))  # noqa: E731
    elif magic == _ZSTD_MAGIC:
        import zstandard

        unpack = lambda file: cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))  # noqa: E731
    else:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="kshot-") as unpacked:
        _unpack(path, unpack, unpacked)
        unpacked.flush()
        yield Path(unpacked.name)


def _unpack(path: Path, unpack: Callable[[IO[bytes]], IO[bytes]], target: IO[bytes]) -> None:
    import zstandard

    size = 0
    limit = max(_BOMB_BYTES, path.stat().st_size * _BOMB_RATIO)
    try:
        with path.open("rb") as packed:
            stream = unpack(packed)
            while chunk := stream.read(_CHUNK_BYTES):
                size += len(chunk)
                if size > limit:
                    raise InputError(
                        str(path), f"unpacks to more than {_BOMB_RATIO} times its size", "unpack it yourself"
                    )
                target.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise InputError(str(path), f"is damaged after {size:,} unpacked bytes", "unpack it yourself") from error


def _read_parquet(path: Path, plain: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(plain, glob=False)
    except PolarsError as error:
        raise InputError(str(path), f"is a damaged Parquet file ({_first_line(error)})") from error


def _read_json(path: Path, plain: Path, *, lines: bool) -> pl.DataFrame:
    try:
        frame = (
            pl.read_ndjson(plain, infer_schema_length=None) if lines else pl.read_json(plain, infer_schema_length=None)
        )
    except (PolarsError, ValueError) as error:
        _blame_json_line(path, plain, lines=lines)
        raise InputError(str(path), f"is not JSON {'lines' if lines else ''} ({_first_line(error)})") from error
    return frame


def _blame_json_line(path: Path, plain: Path, *, lines: bool) -> None:
    """Raise for the first line that is no JSON object; return when all are."""
    if not lines:
        return
    with plain.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                what = getattr(error, "msg", str(error))
                raise InputError(f"{path}, line {number}", f"is not JSON ({what})") from error
            if not isinstance(value, dict):
                raise InputError(f"{path}, line {number}", "is not a JSON object")


def _read_csv(path: Path, plain: Path, head: bytes) -> pl.DataFrame:
    separator = _separator(head)
    _check_header(path, plain, separator)
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
    _blame_csv_line(path, plain, separator)
    assert damage is not None
    raise InputError(str(path), f"is not a CSV table ({_first_line(damage)})") from damage


def _separator(head: bytes) -> str:
    """The separator that the header line holds most of; a comma where it holds none."""
    line = head.split(b"\n", 1)[0]
    counts = {separator: line.count(separator.encode()) for separator in (",", "\t", ";", "|")}
    best = max(counts, key=lambda separator: counts[separator])
    return best if counts[best] else ","


def _check_header(path: Path, plain: Path, separator: str) -> None:
    with plain.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            header = next(csv.reader(file, delimiter=separator), [])
        except csv.Error as error:
            raise InputError(f"{path}, line 1", f"is not a CSV header ({error})") from error
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(f"{path}, line 1", f"two columns are named {twice[0]!r}", "rename one")


def _blame_csv_line(path: Path, plain: Path, separator: str) -> None:
    """Raise for the first record that has more fields than the header; return when none has."""
    with plain.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=separator)
        width = len(next(reader, []))
        try:
            for row in islice(reader, 50_000_000):
                if len(row) > width:
                    raise InputError(f"{path}, line {reader.line_num}", f"has {len(row)} fields, the header {width}")
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num}", str(error)) from error


def _flatten(path: Path, frame: pl.DataFrame) -> pl.DataFrame:
    """Turn nested objects into columns named outer.inner, to a depth of `_STRUCT_DEPTH`."""
    for _ in range(_STRUCT_DEPTH):
        nested = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
        if not nested:
            return frame
        columns: list[pl.Series] = []
        for series in frame:
            if series.name in nested:
                inner = series.struct.unnest()
                columns += [inner[name].alias(f"{series.name}.{name}") for name in inner.columns]
            else:
                columns.append(series)
        twice = [name for name, count in Counter(s.name for s in columns).items() if count > 1]
        if twice:
            raise InputError(str(path), f"two columns are named {twice[0]!r}", "rename one")
        frame = pl.DataFrame(columns)
    return frame.drop([name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)])


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
