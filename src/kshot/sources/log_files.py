"""Which files a log lies in, and what they begin with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from glob import has_magic
from pathlib import Path

from kshot.errors import InputError
from kshot.sources.compressed import STDIN, ByteStream

_HEAD_BYTES = 1 << 16


def head_of(path: str | Path) -> bytes:
    """Return the first bytes of a file, unpacked. Raises `InputError` if it cannot be read."""
    with ByteStream(path) as stream:
        head = bytearray(_HEAD_BYTES)
        filled = 0
        while filled < _HEAD_BYTES and (count := stream.readinto(memoryview(head)[filled:])):
            filled += count
    return bytes(head[:filled])


def json_objects_of(head: bytes) -> Iterator[dict[str, object]]:
    """Give the JSON objects among the lines that a file begins with."""
    for line in head.split(b"\n"):
        if not line.lstrip().startswith(b"{"):
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # a line cut by the end of the head is none either
            continue
        if isinstance(value, dict):
            yield value


def log_files(paths: Sequence[str | Path], is_log: Callable[[Path], bool]) -> list[Path]:
    """Name the files that `paths` mean: files, folders (the files in them of which `is_log`), or patterns.

    Raises:
        InputError: nothing is there.
    """
    files: list[Path] = []
    for path in paths:
        place = Path(path)
        if str(path) != STDIN and place.is_dir():
            found = [file for file in sorted(place.iterdir()) if file.is_file() and is_log(file)]
        elif str(path) != STDIN and not place.exists() and has_magic(str(path)):
            anchor = Path(place.anchor)
            found = sorted(anchor.glob(str(place.relative_to(anchor))))
        else:
            found = [place]
        if not found:
            raise InputError(str(path), "holds no such log", "check the path")
        files += [file for file in found if file not in files]
    return files
