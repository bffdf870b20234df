"""Imported data sets on disk: a folder each, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w
from polars.exceptions import PanicException, PolarsError

from kshot.datasets.catalogue import UnknownDataSetError, catalogue
from kshot.datasets.declaration import NAME_PATTERN, DataSet, parse_declaration
from kshot.datasets.rows import RESERVED, SOURCE_LABEL, KeptRows, table_of_rows
from kshot.episodes.reference import reference_table
from kshot.episodes.tables import LabelledTable
from kshot.errors import InputError, UserError
from kshot.store import output_error, whole_file

FORMAT = 1
"""Of manifest.toml; a higher number was written by a newer kshot and is refused."""
_MANIFEST = "manifest.toml"
_MANIFEST_LIMIT_BYTES = 1 << 20
_AGAIN = "import it again"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was imported, from which bytes, and what became of the rows."""

    dataset: DataSet
    source_file: str
    source_sha256: str
    verified: bool
    """Whether the bytes were those that the declaration names."""
    created: str
    """ISO 8601 UTC time of the import."""
    rows_read: int
    rows_excluded: int
    rows_duplicate: int
    families: Mapping[str, int]
    """Label -> rows kept, "benign" among them."""
    records_file: str
    records_sha256: str

    @property
    def rows(self) -> int:
        """How many rows were kept."""
        return sum(self.families.values())


class Library:
    """The imported data sets under one folder.

    >>> import tempfile, pathlib
    >>> Library(pathlib.Path(tempfile.mkdtemp())).names()
    []
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "datasets"
        """Holds a folder a data set."""

    def names(self) -> list[str]:
        """Return the names of all imported sets, sorted; an absent folder holds none."""
        if not self.folder.is_dir():
            return []
        return sorted(
            e.name for e in self.folder.iterdir() if NAME_PATTERN.fullmatch(e.name) and (e / _MANIFEST).exists()
        )

    def manifest(self, name: str) -> Manifest:
        """Read what is known of an imported set.

        Raises:
            UnknownDataSetError: it is not imported, or there is none of that name.
            InputError: its manifest is damaged or of a newer format.
        """
        names = self.names()
        if name not in names:
            if any(dataset.name == name for dataset in catalogue()):
                raise UserError(f"data set {name} is not imported; do: kshot data import {name} --from FILE_OR_FOLDER")
            raise UnknownDataSetError(name, names)
        return _manifest(self.folder / name / _MANIFEST)

    def rows(self, name: str) -> tuple[Manifest, pl.DataFrame]:
        """Read the kept rows of an imported set, after their checksum.

        Raises:
            UserError, InputError: as `manifest`; the rows are missing or altered.
        """
        manifest = self.manifest(name)
        path = self.folder / name / manifest.records_file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(str(path), (error.strerror or "cannot be read").lower(), _AGAIN) from error
        if hashlib.sha256(data).hexdigest() != manifest.records_sha256:
            raise InputError(str(path), "is not what was imported (checksum mismatch)", _AGAIN)
        try:
            return manifest, pl.read_parquet(BytesIO(data))
        except (PolarsError, PanicException) as error:
            raise InputError(str(path), "is a damaged Parquet file", _AGAIN) from error

    def features(self, name: str) -> tuple[str, ...]:
        """Return the names of an imported set's feature columns, without reading its rows.

        Raises:
            UserError, InputError: as `manifest`; the rows are missing or damaged.
        """
        manifest = self.manifest(name)
        path = self.folder / name / manifest.records_file
        try:
            columns = pl.read_parquet_schema(path)
        except (PolarsError, PanicException, OSError) as error:
            raise InputError(str(path), "is missing or a damaged Parquet file", _AGAIN) from error
        return tuple(column for column in columns if column not in {*RESERVED, *manifest.dataset.kept_aside})

    def load(self, name: str, drop: Collection[str] = ()) -> LabelledTable:
        """Return an imported set as a table for episodes; `drop` leaves more columns out.

        Raises:
            UserError: not imported, damaged, no such column, or no column left.
        """
        manifest, kept = self.rows(name)
        strange = sorted(set(drop) - set(kept.columns) | set(drop) & set(RESERVED))
        if strange:
            raise UserError(f"data set {name} has no column {strange[0]!r} to leave out")
        return table_of_rows(manifest.dataset, kept.drop(list(drop)))

    def load_reference(self, name: str) -> LabelledTable:
        """Return an imported set as the reference protocol prepares it.

        Raises:
            UserError: not imported or damaged.
        """
        manifest, kept = self.rows(name)
        frame = kept.drop([column for column in RESERVED if column in kept.columns])
        labels = kept[SOURCE_LABEL].to_list()
        return reference_table(name, manifest.dataset.corpus, frame, labels)

    def write(self, manifest: Manifest, told: Mapping[str, Any], kept: KeptRows) -> Manifest:
        """Keep rows under the data set's name; what was there before stays until these are whole on disk.

        Raises:
            OutputError: disk full, no rights.
        """
        buffer = BytesIO()
        kept.frame.write_parquet(buffer)
        data = buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        # Named by content: the old manifest goes on naming the old rows until the new one takes its place.
        manifest = replace(manifest, records_file=f"records-{digest[:16]}.parquet", records_sha256=digest)
        place = self.folder / manifest.dataset.name
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(place, error) from error
        with self._locked():
            with whole_file(place / manifest.records_file) as whole:
                whole.path.write_bytes(data)
            with whole_file(place / _MANIFEST) as whole:
                whole.path.write_bytes(tomli_w.dumps(_document(manifest, told)).encode())
            for old in place.glob("records-*.parquet"):
                if old.name != manifest.records_file:
                    with contextlib.suppress(OSError):
                        old.unlink()
        return manifest

    def remove(self, name: str) -> None:
        """Delete an imported set, a damaged one too; the file it came from stays.

        Raises:
            UserError: it is not imported.
            OutputError: no rights.
        """
        if name not in self.names():
            if any(dataset.name == name for dataset in catalogue()):
                raise UserError(f"data set {name} is not imported; see: kshot data list")
            raise UnknownDataSetError(name, self.names())
        place = self.folder / name
        gone = self.folder / f".{name}.{secrets.token_hex(4)}.part"
        with self._locked():
            try:
                place.rename(gone)  # gone as a whole, though the deletion should be interrupted
                shutil.rmtree(gone)
            except OSError as error:
                raise output_error(place, error) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time write: another would clear away rows whose manifest is still to come."""
        path = self.folder / ".lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise output_error(path, error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _document(manifest: Manifest, told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "map": dict(told),
        "source": {
            "file": manifest.source_file,
            "sha256": manifest.source_sha256,
            "verified": manifest.verified,
            "created": manifest.created,
        },
        "rows": {
            "read": manifest.rows_read,
            "excluded": manifest.rows_excluded,
            "duplicate": manifest.rows_duplicate,
        },
        "families": dict(manifest.families),
        "records": {"file": manifest.records_file, "sha256": manifest.records_sha256},
    }


def _manifest(path: Path) -> Manifest:
    try:
        if path.stat().st_size > _MANIFEST_LIMIT_BYTES:
            raise InputError(str(path), "is larger than 1 MiB", _AGAIN)
        told = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise InputError(str(path), (error.strerror or "cannot be read").lower(), _AGAIN) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"is damaged ({' '.join(str(error).split())})", _AGAIN) from error
    number = told.get("format")
    if not isinstance(number, int):
        raise InputError(str(path), "names no format", _AGAIN)
    if number > FORMAT:
        raise InputError(str(path), f"is of format {number}, newer than this kshot knows", "upgrade kshot")
    try:
        source, rows, records = told["source"], told["rows"], told["records"]
        if Path(records["file"]).name != records["file"]:
            raise InputError(str(path), "names rows outside its folder", _AGAIN)
        return Manifest(
            dataset=parse_declaration(told["map"], f"{path}, map"),
            source_file=str(source["file"]),
            source_sha256=str(source["sha256"]),
            verified=bool(source["verified"]),
            created=str(source["created"]),
            rows_read=int(rows["read"]),
            rows_excluded=int(rows["excluded"]),
            rows_duplicate=int(rows["duplicate"]),
            families={str(label): int(count) for label, count in told["families"].items()},
            records_file=str(records["file"]),
            records_sha256=str(records["sha256"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(str(path), "is damaged (something is missing)", _AGAIN) from error
