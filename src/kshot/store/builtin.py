"""What ships with kshot: threats taught on its range, and the range's benign traffic."""

from __future__ import annotations

import hashlib
import tomllib
from io import BytesIO
from pathlib import Path

import polars as pl

from kshot.errors import InputError
from kshot.records.threats import Threat
from kshot.store.folders import read_folder
from kshot.store.threats import read_threat

CONTENT = Path(__file__).resolve().parent.parent / "content"
"""Data, not code: threats/<name>/ and reference/."""


def builtin_names() -> list[str]:
    """Return the names of the threats that ship with kshot, sorted."""
    folder = CONTENT / "threats"
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def builtin_threat(name: str) -> Threat:
    """Read one of them.

    Raises:
        InputError: its files are missing or altered.
    """
    return read_threat(CONTENT / "threats" / name)


def builtin_threats() -> list[Threat]:
    """Read all of them.

    Raises:
        InputError: files are missing or altered.
    """
    return [builtin_threat(name) for name in builtin_names()]


def builtin_prior() -> dict[str, bytes] | None:
    """Return the files of the prior that ships with kshot, by name; None where none does.

    Raises:
        InputError: one cannot be read.
    """
    folder = CONTENT / "prior"
    return read_folder(folder) if folder.is_dir() else None


def builtin_reference() -> tuple[pl.DataFrame, str]:
    """Read the laboratory's benign flows: their features, and the fingerprint of the schema these are of.

    What is measured on them promises nothing about another network.

    Raises:
        InputError: its files are missing or altered.
    """
    path = CONTENT / "reference" / "reference.parquet"
    try:
        about = tomllib.loads(path.with_suffix(".toml").read_text())
        data = path.read_bytes()
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(str(path), "cannot be read", "install kshot again") from error
    if hashlib.sha256(data).hexdigest() != about.get("sha256"):
        raise InputError(str(path), "was altered (its sha256 is not reference.toml's)", "install kshot again")
    return pl.read_parquet(BytesIO(data)), str(about.get("fingerprint", ""))
