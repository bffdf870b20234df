"""Decodes Parquet and JSON in a process of its own, which damage may end, and which has its limits.

On a bogus length in a Parquet page polars asks for exabytes, and a failed allocation in its Rust code is no error but
the end of the process; JSON lines of ever new keys cost the square of their number. So a child with little memory,
time and room for output decodes the file into Arrow's IPC format, and what it got through is read from there.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from kshot.errors import InputError
from kshot.sources.compressed import BOMB_OUTPUT_BYTES, BOMB_RATIO

_MEMORY_BYTES = 512 << 20
"""What the child may write to, beside 16 times the file's size; polars and a few row groups take 200 MiB."""
_MEMORY_RATIO = 16
_SECONDS = 5
"""CPU time of the child, beside a second for each MiB; its start takes 0.5."""
_PATIENCE = 20
"""So many times longer may it take by the clock, on a busy machine or a slow disk."""
_THREADS = 4
_REFUSED, _SWOLLEN = 3, 4
"""How the child ends if it got an error, and if what it wrote became too large."""


class Undecodable(Exception):
    """A file is not what it should be, or is damaged; the text says why."""


def read_apart(path: Path, name: str, form: str) -> pl.DataFrame:
    """Read a file whose `form` is parquet, ndjson or json; `name` is what messages call it.

    Raises:
        Undecodable: it is damaged.
        InputError: it takes too long, or its plain size is that of a decompression bomb.
    """
    size = path.stat().st_size
    most = max(BOMB_OUTPUT_BYTES, BOMB_RATIO * size)
    seconds = _SECONDS + (size >> 20)
    limits = (_MEMORY_BYTES + _MEMORY_RATIO * size, most, seconds)
    environment = os.environ | {"POLARS_MAX_THREADS": str(min(_THREADS, os.cpu_count() or 1)), "RUST_BACKTRACE": "0"}
    with tempfile.NamedTemporaryFile(prefix="kshot-", suffix=".arrow") as plain:
        # -P: what lies in the folder that we were started in is nobody's module.
        command = [sys.executable, "-P", "-m", __spec__.name, form, str(path), plain.name, *map(str, limits)]
        try:
            child = subprocess.run(  # noqa: S603  (our own interpreter and module, no shell)
                command, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=_PATIENCE * seconds
            )
            status = child.returncode
        except subprocess.TimeoutExpired:
            status = -signal.SIGXCPU
        if status == -signal.SIGXCPU:
            raise InputError(
                name, f"takes more than {seconds} s to decode: it is damaged, or made to", "give it as CSV"
            )
        if status == _SWOLLEN:
            what = f"swells past {most >> 20} MiB: it looks like a decompression bomb"
            raise InputError(name, what, "if it is none, give it as CSV")
        if status:
            raise Undecodable(_reason(child))
        try:
            return pl.read_ipc(plain.name)
        except (PolarsError, PanicException) as error:
            raise Undecodable(first_line(error)) from error


def first_line(error: object) -> str:
    """Return what an error says, as far as it fits into one of ours."""
    return str(error).strip().split("\n", 1)[0][:200]


def _reason(child: subprocess.CompletedProcess[bytes]) -> str:
    if child.returncode == _REFUSED:
        return first_line(child.stdout.decode("utf-8", "replace"))
    if b"memory allocation" in child.stderr:
        return "its reader was made to ask for more memory than it may have"
    return f"its reader ended with {child.returncode}"


def _decode(form: str, path: str, plain: str, memory_bytes: int, most_bytes: int, seconds: int) -> int:
    """Be the child: decode `path` into `plain` within the limits; return its exit status."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    # Not the address space: polars' allocator reserves more than a GiB of that without touching it.
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    try:
        if form == "parquet":
            pl.scan_parquet(path, glob=False).sink_ipc(plain)
        elif form == "ndjson":
            pl.scan_ndjson(path, infer_schema_length=None).sink_ipc(plain)
        else:
            pl.read_json(path, infer_schema_length=None).write_ipc(plain)
    except (PolarsError, PanicException, OSError, ValueError, MemoryError) as error:
        print(error)  # noqa: T201  (the parent reads it)
        return _SWOLLEN if "File too large" in str(error) else _REFUSED
    return 0


if __name__ == "__main__":
    given_form, given_path, given_plain, *given_limits = sys.argv[1:]
    sys.exit(_decode(given_form, given_path, given_plain, *map(int, given_limits)))
