"""Threats to hand on: a zip file or a folder, with a manifest that holds the sha256 of every file."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from kshot.errors import InputError, OutputError
from kshot.records.threats import Threat
from kshot.store.atomic import output_error, whole_file
from kshot.store.threats import NAME_PATTERN, SHOTS_LIMIT_BYTES, TOML_LIMIT_BYTES, parse_threat, threat_files

FORMAT = 1
MANIFEST = "manifest.json"
_KIND = "kshot threats"
_INNER = re.compile(rf"({NAME_PATTERN.pattern})/(threat\.toml|shots\.parquet)")
_MOST_FILES = 2_000
_HINT = "ask whoever made it for a whole one, made by: kshot threats export"


def write_bundle(threats: Sequence[Threat], target: Path) -> None:
    """Write threats to a zip file, or to a new folder where `target` has no ending.

    Raises:
        OutputError: disk full, no rights, or the folder exists.
    """
    files = {f"{threat.name}/{name}": data for threat in threats for name, data in threat_files(threat).items()}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"kind": _KIND, "format": FORMAT, "files": sums}
    files = {MANIFEST: json.dumps(manifest, indent=1).encode() + b"\n", **files}
    if target.suffix:
        with whole_file(target) as whole, zipfile.ZipFile(whole.path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
        return
    if target.exists():
        raise OutputError(f"{target} exists; name a new folder, or a file that ends in .zip")
    try:
        for name, data in files.items():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise output_error(target, error) from error


def read_bundle(path: Path) -> list[Threat]:
    """Read the threats of a bundle, after every file of it was found as its manifest says.

    Raises:
        InputError: it cannot be read, is no bundle, holds what no bundle may (a path that leads out of it), or differs
            from its manifest.
    """
    if path.is_dir():
        inside = sorted(str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir())
        return _checked(path, inside, lambda name, limit: _file_bytes(path, name, limit))
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist() if not info.is_dir()}

            def inflate(name: str, limit: int) -> bytes:
                if sizes[name] > limit:
                    raise _bad(path, f"{name} is larger than {limit >> 20} MiB")
                with archive.open(name) as file:
                    return file.read(limit + 1)

            return _checked(path, [info.filename for info in archive.infolist() if not info.is_dir()], inflate)
    except OSError as error:
        raise InputError(
            str(path), (error.strerror or "cannot be read").lower(), "name a zip file or folder"
        ) from error
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        raise _bad(path, f"is no whole zip file ({' '.join(str(error).split())})") from error


def _checked(path: Path, inside: list[str], read: Callable[[str, int], bytes]) -> list[Threat]:
    if MANIFEST not in inside:
        raise _bad(path, f"holds no {MANIFEST}, so it is no bundle of threats")
    if len(inside) > _MOST_FILES or len(set(inside)) < len(inside):
        raise _bad(path, "holds a file twice, or too many")
    odd = next((name for name in inside if name != MANIFEST and not _INNER.fullmatch(name)), None)
    if odd is not None or any(".." in name for name in inside):
        raise _bad(path, f"holds {odd or 'a path with ..'!r}, which no bundle of threats does")
    try:
        manifest = json.loads(read(MANIFEST, TOML_LIMIT_BYTES))
        sums = manifest["files"]
        known = manifest["kind"] == _KIND and isinstance(manifest["format"], int) and isinstance(sums, dict)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _bad(path, f"has a damaged {MANIFEST}") from error
    if not known:
        raise _bad(path, f"has a {MANIFEST} of another kind")
    if manifest["format"] > FORMAT:
        raise InputError(str(path), f"is of format {manifest['format']}, newer than this kshot knows", "upgrade kshot")
    if set(sums) != set(inside) - {MANIFEST}:
        differing = sorted(set(sums) ^ (set(inside) - {MANIFEST}))[0]
        raise _bad(path, f"differs from its manifest: {differing} is missing or not named there")
    data: dict[str, bytes] = {}
    for name in sorted(sums):
        data[name] = read(name, SHOTS_LIMIT_BYTES if name.endswith(".parquet") else TOML_LIMIT_BYTES)
        if hashlib.sha256(data[name]).hexdigest() != sums[name]:
            raise _bad(path, f"differs from its manifest: {name} was torn or altered")
    names = sorted({name.split("/")[0] for name in data})
    lacking = next((n for n in names for f in ("threat.toml", "shots.parquet") if f"{n}/{f}" not in data), None)
    if lacking is not None:
        raise _bad(path, f"holds {lacking} in part only")
    if not names:
        raise _bad(path, "holds no threat")
    return [
        parse_threat(path / n, data[f"{n}/threat.toml"], partial(data.__getitem__, f"{n}/shots.parquet")) for n in names
    ]


def _file_bytes(folder: Path, name: str, limit: int) -> bytes:
    place = folder / name
    try:
        if place.is_symlink() or place.parent.is_symlink() or not place.is_file():
            raise _bad(folder, f"holds {name!r}, which is a link or no plain file")
        if place.stat().st_size > limit:
            raise _bad(folder, f"{name} is larger than {limit >> 20} MiB")
        return place.read_bytes()
    except OSError as error:
        raise InputError(str(place), (error.strerror or "cannot be read").lower(), _HINT) from error


def _bad(path: Path, what: str) -> InputError:
    return InputError(str(path), what, _HINT)
