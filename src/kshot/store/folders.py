"""Folders that are written as a whole or not at all: trained learners, checkpoints of a training."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from kshot.errors import InputError
from kshot.store.atomic import output_error, sync_file, sync_folder

_LIMIT_BYTES = 4 << 30
"""No file of a learner comes near it."""


def write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """Put `files` (name -> content) into the folder `place`; what it held stays until they are whole on disk.

    Raises:
        OutputError: disk full, no rights.
    """
    part, old = _beside(place, "part"), _beside(place, "old")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _recover(place)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name, data in files.items():
            (part / name).write_bytes(data)
            sync_file(part / name)
        sync_folder(part)
        if place.exists():
            place.rename(old)
        part.rename(place)
        sync_folder(place.parent)
    except OSError as error:
        raise output_error(place, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)


def read_folder(place: Path) -> dict[str, bytes]:
    """Return the files in `place`, by name; folders inside it are left out.

    Raises:
        InputError: there is no such folder, or a file in it cannot be read.
    """
    try:
        _recover(place)
        if not place.is_dir():
            raise InputError(str(place), "is no folder", "name one that kshot train wrote")
        files = [path for path in sorted(place.iterdir()) if path.is_file()]
        for path in files:
            if path.stat().st_size > _LIMIT_BYTES:
                raise InputError(str(path), "is larger than 4 GiB", "name a folder that kshot train wrote")
        return {path.name: path.read_bytes() for path in files}
    except OSError as error:
        raise InputError(str(place), (error.strerror or "cannot be read").lower()) from error


def _recover(place: Path) -> None:
    """Put back what a crash between the two renames of `write_folder` left aside."""
    old = _beside(place, "old")
    if old.is_dir() and not place.exists():
        old.rename(place)


def _beside(place: Path, what: str) -> Path:
    return place.with_name(f".{place.name}.{what}")
