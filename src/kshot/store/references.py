"""References learned on site: one folder each, replaced as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from kshot.errors import InputError, ThreatError, UserError
from kshot.store.atomic import output_error
from kshot.store.folders import read_folder, write_folder
from kshot.store.threats import check_name

FORMAT = 1
"""Of reference.json; a higher number was written by a newer kshot and is refused."""
_ABOUT, _FRAME, _FEATURES = "reference.json", "records.parquet", "features.parquet"


@dataclass(frozen=True, slots=True)
class KeptReference:
    """Benign records of a site, and what is known of them."""

    frame: pl.DataFrame
    """Who, when, and what its log said."""
    features: pl.DataFrame
    """What is judged, row for row beside `frame`."""
    about: Mapping[str, Any]
    """JSON's types; among them `fingerprint`, of the features."""


class ReferenceStore:
    """The references under one folder.

    >>> import tempfile, pathlib
    >>> ReferenceStore(pathlib.Path(tempfile.mkdtemp())).names()
    []
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "references"
        """Holds a folder a reference."""

    def names(self) -> list[str]:
        """Return the names of all references, sorted."""
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in self.folder.iterdir() if (entry / _ABOUT).is_file())

    def save(self, name: str, kept: KeptReference) -> None:
        """Keep a reference under `name`, in the place of the one that was; on disk when it returns.

        Raises:
            UserError: it cannot be a name.
            OutputError: disk full, no rights.
        """
        files = {_FRAME: _parquet(kept.frame), _FEATURES: _parquet(kept.features)}
        hashes = {file: hashlib.sha256(data).hexdigest() for file, data in files.items()}
        about = {**kept.about, "format": FORMAT, "sha256": hashes}
        write_folder(self._place(name), files | {_ABOUT: json.dumps(about, indent=1).encode()})

    def load(self, name: str) -> KeptReference:
        """Read a reference, and check that its files are whole.

        Raises:
            UserError: there is none of that name.
            InputError: a file of it is missing, torn, altered, or of a newer format.
        """
        place = self._place(name)
        if name not in self.names():
            known = ", ".join(self.names()) or "none"
            raise UserError(f"there is no reference {name} (there are: {known}); make one: kshot reference build")
        files = read_folder(place)
        about = self.about(name)
        for file, digest in about["sha256"].items():
            if hashlib.sha256(files.get(file, b"")).hexdigest() != digest:
                raise InputError(
                    str(place / file), "is torn or was altered", f"build it again: kshot reference build {name}"
                )
        try:
            frame, features = (pl.read_parquet(BytesIO(files[file])) for file in (_FRAME, _FEATURES))
        except (PolarsError, KeyError) as error:
            raise InputError(str(place), "cannot be read", f"build it again: kshot reference build {name}") from error
        return KeptReference(frame, features, about)

    def about(self, name: str) -> dict[str, Any]:
        """What is known of a reference, without its records. Raises what `load` raises."""
        path = self._place(name) / _ABOUT
        try:
            about: dict[str, Any] = json.loads(path.read_bytes())
            is_ours = isinstance(about, dict) and isinstance(about["sha256"], dict) and isinstance(about["format"], int)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(str(path), "is damaged", f"build it again: kshot reference build {name}") from error
        if not is_ours or about["format"] > FORMAT:
            raise InputError(str(path), "is of a newer kshot", "upgrade kshot, or build it again")
        return about

    def remove(self, name: str) -> None:
        """Forget a reference. Raises `UserError` if there is none of that name."""
        place = self._place(name)
        if name not in self.names():
            raise UserError(f"there is no reference {name}; see: kshot reference list")
        try:
            shutil.rmtree(place)
        except OSError as error:
            raise output_error(place, error) from error

    def _place(self, name: str) -> Path:
        try:
            return self.folder / check_name(name)
        except ThreatError as error:
            raise UserError(str(error).replace("a threat", "a reference")) from error


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
