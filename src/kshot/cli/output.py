"""Frames on their way out: JSON lines, CSV and Parquet, batch by batch, whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO

import polars as pl

from kshot.cli.clean import clean_cell, clean_json
from kshot.cli.messages import ReaderGoneError
from kshot.errors import UserError
from kshot.store import output_error

_TIME = "%Y-%m-%dT%H:%M:%S%.9fZ"
_SUSPECT = r"[^ -~]|^[=+\-@|%]"
"""A text with a character outside printable ASCII, or that begins like a formula, is looked at one by one."""

Writer = Callable[[Iterable[pl.DataFrame], IO[bytes]], None]
"""Takes frames of one schema as they come and writes them."""


@contextlib.contextmanager
def open_output(output: Path | None) -> Iterator[IO[bytes]]:
    """Give a binary file: stdout, or one that becomes `output` when the block ends well.

    Raises:
        OutputError: it could not be written; nothing is left half-written.
    """
    if output is None:
        try:
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        return
    from kshot.store import whole_file

    with whole_file(output) as whole:
        with whole.path.open("wb") as file:
            yield file


def write_frames(
    frames: Iterable[pl.DataFrame], schema: Mapping[str, pl.DataType], form: str, output: Path | None
) -> None:
    """Write frames of one schema as `form` ("jsonl", "csv", "parquet"), never holding more than one of them.

    Raises:
        OutputError: disk full, no rights, no such folder.
        UserError: Parquet to a terminal.
    """
    if form == "parquet":
        _write_parquet(frames, schema, output)
        return
    with open_output(output) as file:
        # The heading waits for the first frame, so that an input that turns out wrong leaves no output at all.
        heading = form == "csv"
        for frame in frames:
            file.write(_csv_bytes(frame, header=heading) if form == "csv" else _jsonl_bytes(frame))
            heading = False
        if heading:
            file.write(_csv_bytes(pl.DataFrame(schema=schema), header=True))


def _jsonl_bytes(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.select(_for_json(frame.schema)).write_ndjson(buffer)
    data = buffer.getvalue()
    # JSON escapes control bytes itself; what steers a terminal beyond ASCII is escaped here.
    return data if data.isascii() and b"\x7f" not in data else clean_json(data.decode()).encode()


def _csv_bytes(frame: pl.DataFrame, *, header: bool) -> bytes:
    safe = _safe_cells(frame.select(_for_csv(frame.schema)))
    safe.columns = [clean_cell(name) for name in safe.columns]
    return safe.write_csv(include_header=header, line_terminator="\n").encode()


def _for_json(schema: Mapping[str, pl.DataType]) -> Iterator[pl.Expr]:
    for name, dtype in schema.items():
        column = pl.col(name)
        if dtype == pl.Binary:
            yield column.bin.encode("hex")
        elif isinstance(dtype, pl.Datetime):
            yield column.dt.strftime(_TIME)
        elif dtype.is_float():
            yield column.fill_nan(None)
        else:
            yield column


def _for_csv(schema: Mapping[str, pl.DataType]) -> Iterator[pl.Expr]:
    for name, dtype in schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.List):
            # Texts in one cell are for people, numbers for programs.
            joined = column.cast(pl.List(pl.String)).list.join("; " if dtype.inner == pl.String else ",")
            yield (joined if dtype.inner == pl.String else pl.format("[{}]", joined)).alias(name)
        elif isinstance(dtype, pl.Enum):
            yield column.cast(pl.String)
        else:
            yield from _for_json({name: dtype})


def _safe_cells(frame: pl.DataFrame) -> pl.DataFrame:
    """Clean text cells; numbers keep their sign."""
    changed: list[pl.Series] = []
    for series in frame:
        if series.dtype == pl.String:
            suspect = series.str.contains(_SUSPECT).fill_null(False)
            if suspect.any():
                rows = suspect.arg_true()
                safe = pl.Series([clean_cell(text) for text in series.gather(rows)], dtype=pl.String)
                changed.append(series.scatter(rows, safe))
    return frame.with_columns(changed) if changed else frame


def _write_parquet(frames: Iterable[pl.DataFrame], schema: Mapping[str, pl.DataType], output: Path | None) -> None:
    if output is not None:
        from kshot.store import whole_file

        with whole_file(output) as whole:
            _sink(frames, schema, whole.path, output)
        return
    if sys.stdout.isatty():
        raise UserError("Parquet is not for a terminal; give --output FILE or pipe it on")
    with tempfile.NamedTemporaryFile(prefix="kshot-", suffix=".parquet") as spool:
        _sink(frames, schema, Path(spool.name), Path(spool.name))
        with open_output(None) as file, Path(spool.name).open("rb") as written:
            shutil.copyfileobj(written, file, 1 << 20)


def _sink(frames: Iterable[pl.DataFrame], schema: Mapping[str, pl.DataType], path: Path, told: Path) -> None:
    """Stream frames into a Parquet file, holding a row group at a time; an error of the frames is raised as it was."""
    from polars.io.plugins import register_io_source

    failed: list[BaseException] = []

    def source(
        _columns: list[str] | None, _predicate: pl.Expr | None, _rows: int | None, _batch: int | None
    ) -> Iterator[pl.DataFrame]:
        try:
            yield from frames
        except BaseException as error:  # polars would wrap it; the caller wants to see whose mistake it was
            failed.append(error)
            raise

    try:
        lazy = register_io_source(source, schema=dict(schema))
        # A third less time than polars' zstd, for half as much again on the disk.
        lazy.sink_parquet(path, maintain_order=True, compression="lz4")
    except BaseException as error:
        if failed:
            raise failed[0] from None
        raise _parquet_error(told, error) from error


def _parquet_error(told: Path, error: BaseException) -> BaseException:
    """polars reports a full disk as OSError or as ComputeError with the system's words; anything else is our fault."""
    if isinstance(error, OSError):
        return error
    text = str(error)
    for number in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO, errno.EACCES):
        if f"os error {number}" in text or os.strerror(number) in text:
            return output_error(told, OSError(number, os.strerror(number)))
    return error


def write_text(lines: Iterable[str], output: Path | None) -> None:
    """Write blocks of text (each with its newlines) as they come."""
    with open_output(output) as file:
        for line in lines:
            file.write(line.encode("utf-8", "replace"))
