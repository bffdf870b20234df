"""Read a data set from its file, check that it is the one meant, and keep it under kshot's home."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kshot.datasets.declaration import DataSet
from kshot.datasets.library import Library, Manifest
from kshot.datasets.rows import LABEL, keep_rows, table_of_rows
from kshot.episodes.leaks import label_copies
from kshot.episodes.tables import BENIGN, LabelledTable
from kshot.errors import InputError, UserError
from kshot.sources.tables import TABLE_SUFFIXES, read_table

_PIECE_BYTES = 1 << 20


def import_dataset(
    library: Library,
    dataset: DataSet,
    told: Mapping[str, Any],
    path: Path,
    created: str,
    *,
    replace: bool = False,
    unverified: bool = False,
) -> Manifest:
    """Read `path` as `dataset` says, and keep its rows.

    Args:
        library: where to keep them.
        dataset: the declaration.
        told: the TOML document that it was made from, kept in the manifest.
        path: the file to read.
        created: ISO 8601 UTC time, for the manifest.
        replace: an imported set of that name gives way.
        unverified: take bytes of another checksum too; the manifest says so.

    Raises:
        UserError: one of that name is there, the checksum or the table is not as declared, a column is the label.
        OutputError: disk full, no rights; what was there before stays.
    """
    if not replace and dataset.name in library.names():
        raise UserError(f"data set {dataset.name} is imported already; give --replace to import it anew")
    digest = file_sha256(path)
    verified = bool(dataset.sha256) and digest == dataset.sha256
    if dataset.sha256 and not verified and not unverified:
        raise InputError(
            str(path),
            f"is not the file that the map of {dataset.name} was made for (sha256 {digest[:12]}..., not "
            f"{dataset.sha256[:12]}...)",
            "get that one, or give --unverified",
        )
    kept = keep_rows(dataset, read_table(path), str(path))
    table = table_of_rows(dataset, kept.frame)
    copies = label_copies(table.features, table.labels)
    if copies:
        raise InputError(str(path), f"column {copies[0]!r} is the label in other words", "name it in drop")
    counted = kept.frame[LABEL].value_counts(sort=True)
    counts = dict(sorted(counted.iter_rows(), key=lambda pair: (pair[0] != BENIGN, pair[0])))
    manifest = Manifest(
        dataset=dataset,
        source_file=path.name,
        source_sha256=digest,
        verified=verified,
        created=created,
        rows_read=kept.read,
        rows_excluded=kept.excluded,
        rows_duplicate=kept.duplicates,
        families=counts,
        records_file="",
        records_sha256="",
    )
    return library.write(manifest, told, kept)


def find_file(dataset: DataSet, place: Path) -> Path:
    """Return the file to import: `place` itself, or the data set's file in that folder.

    Raises:
        InputError: there is none.
    """
    if not place.is_dir():
        if not place.exists():
            raise InputError(str(place), "no such file or folder", "check the path")
        return place
    names = [dataset.file] if dataset.file else [dataset.name + suffix for suffix in TABLE_SUFFIXES]
    for name in names:
        if (place / name).is_file():
            return place / name
    raise InputError(str(place), f"holds no file {names[0]}, which {dataset.name} is read from", "name the file")


def file_sha256(path: Path) -> str:
    """Return the checksum of a file's bytes.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
    except OSError as error:
        raise InputError(str(path), (error.strerror or "cannot be read").lower(), "check the path") from error
    return digest.hexdigest()


def table_from_file(dataset: DataSet, path: Path) -> LabelledTable:
    """Read a file as `dataset` says, for use at once; nothing is kept.

    Raises:
        InputError: the table is not as declared.
    """
    return table_of_rows(dataset, keep_rows(dataset, read_table(path), str(path)).frame)
