"""Threats on disk: one folder each, replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w
from polars.exceptions import PolarsError

from kshot.errors import InputError, OutputError, ThreatError
from kshot.records.threats import Threat
from kshot.store.atomic import output_error, sync_file, sync_folder

FORMAT = 1
"""Of threat.toml; a higher number was written by a newer kshot and is refused."""
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
TOML_LIMIT_BYTES = 1 << 20
SHOTS_LIMIT_BYTES = 64 << 20
"""No honest threat comes near these; a file beyond them is refused before it is parsed."""


def check_name(name: str) -> str:
    """Return `name` when it may name a threat, and so a folder.

    Raises:
        ThreatError: it may not.
    """
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        raise ThreatError(
            f"{name!r} cannot name a threat; use small letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit, at most 64"
        )
    return name


def read_threat(folder: Path) -> Threat:
    """Read the threat that lies in `folder`, whose name it bears, and check that its files are whole.

    Raises:
        InputError: a file of it is missing, torn, altered, or of a newer format.
    """
    about = _read(folder / "threat.toml", TOML_LIMIT_BYTES)
    return parse_threat(folder, about, lambda: _read(folder / "shots.parquet", SHOTS_LIMIT_BYTES))


def parse_threat(folder: Path, about: bytes, read_shots: Callable[[], bytes]) -> Threat:
    """Make a threat of the bytes of its threat.toml and shots.parquet; `folder` bears its name, and stands in errors.

    Raises:
        InputError: they are torn, altered, or of a newer format.
    """
    told = _parse_toml(folder / "threat.toml", about)
    shots = _parse_shots(folder / "shots.parquet", read_shots(), told)
    return _threat(folder / "threat.toml", folder.name, told, shots)


def threat_files(threat: Threat) -> dict[str, bytes]:
    """Return what `parse_threat` reads: name of a file to its bytes."""
    buffer = BytesIO()
    threat.shots.write_parquet(buffer)
    shots = buffer.getvalue()
    return {"shots.parquet": shots, "threat.toml": tomli_w.dumps(_toml(threat, shots)).encode()}


class ThreatStore:
    """The threats under one folder.

    >>> import tempfile, pathlib
    >>> ThreatStore(pathlib.Path(tempfile.mkdtemp())).names()
    []
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "threats"
        """Holds a folder a threat."""

    def names(self) -> list[str]:
        """Return the names of all threats, sorted; an absent folder holds none."""
        if not self.folder.is_dir():
            return []
        with contextlib.suppress(OutputError), self._locked():  # a read-only home is still readable
            self._recover()
        return sorted(
            entry.name for entry in self.folder.iterdir() if NAME_PATTERN.fullmatch(entry.name) and entry.is_dir()
        )

    def load(self, name: str) -> Threat:
        """Read one threat and check that its files are whole.

        Raises:
            ThreatError: no such threat.
            InputError: a file of it is missing, torn, altered, or of a newer format.
        """
        check_name(name)
        names = self.names()
        if name not in names:
            from difflib import get_close_matches

            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else "see: kshot threats list"
            raise ThreatError(f"there is no threat named {name}; {hint}")
        return read_threat(self.folder / name)

    def save(self, threat: Threat, *, replace: bool = False) -> Path:
        """Write a threat; the old one of that name stays until the new one is whole on disk. Returns its folder.

        Raises:
            ThreatError: one of that name exists and `replace` is not set.
            OutputError: disk full, no rights.
        """
        check_name(threat.name)
        place = self.folder / threat.name
        files = threat_files(threat)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                self._recover()
                if place.exists() and not replace:
                    raise ThreatError(
                        f"threat {threat.name} exists; give --replace to learn it anew or --add to add shots"
                    )
                part = self.folder / f".{threat.name}.{secrets.token_hex(4)}.part"
                try:
                    part.mkdir()
                    for name, data in files.items():
                        _write(part / name, data)
                    sync_folder(part)
                    self._put(part, place)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise output_error(place, error) from error
        return place

    def remove(self, name: str) -> None:
        """Delete a threat, torn ones too.

        Raises:
            ThreatError: no such threat.
            OutputError: no rights.
        """
        check_name(name)
        if name not in self.names():
            raise ThreatError(f"there is no threat named {name}; see: kshot threats list")
        try:
            with self._locked():
                gone = self.folder / f".{name}.{secrets.token_hex(4)}.part"
                (self.folder / name).rename(gone)
                shutil.rmtree(gone)
                sync_folder(self.folder)
        except OSError as error:
            raise output_error(self.folder / name, error) from error

    def _put(self, part: Path, place: Path) -> None:
        """Rename `part` to `place`; the one it replaces waits under a name that `_recover` knows."""
        old = self.folder / f".{place.name}.old"
        if place.exists():
            place.rename(old)
        part.rename(place)
        sync_folder(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _recover(self) -> None:
        """Finish what a crash between the two renames of `_put`, or before its clean-up, left."""
        for entry in self.folder.iterdir():
            if entry.name.startswith(".") and entry.name.endswith(".old"):
                place = self.folder / entry.name[1:-4]
                if place.exists():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.rename(place)
            elif entry.name.startswith(".") and entry.name.endswith(".part"):
                shutil.rmtree(entry, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the folder."""
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


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    sync_file(path)


def _toml(threat: Threat, shots: bytes) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": threat.name,
        "kind": threat.kind,
        "severity": threat.severity,
        "description": threat.description,
        "attack": list(threat.attack),
        "references": list(threat.references),
        "source": threat.source,
        "created": threat.created,
        "shots": {
            "rows": threat.shots.height,
            "fingerprint": threat.fingerprint,
            "sha256": hashlib.sha256(shots).hexdigest(),
        },
    }


def _read(path: Path, limit_bytes: int) -> bytes:
    try:
        if path.stat().st_size > limit_bytes:
            raise InputError(
                str(path), f"is larger than {limit_bytes >> 20} MiB", "remove the threat and learn it again"
            )
        return path.read_bytes()
    except OSError as error:
        what = (error.strerror or "cannot be read").lower()
        raise InputError(str(path), what, "remove the threat and learn it again") from error


def _parse_toml(path: Path, data: bytes) -> dict[str, Any]:
    try:
        told = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise InputError(str(path), f"is damaged ({what})", "remove the threat and learn it again") from error
    if not isinstance(told.get("format"), int):
        raise InputError(str(path), "names no format", "remove the threat and learn it again")
    if told["format"] > FORMAT:
        raise InputError(str(path), f"is of format {told['format']}, newer than this kshot knows", "upgrade kshot")
    return told


def _parse_shots(path: Path, data: bytes, told: Mapping[str, Any]) -> pl.DataFrame:
    about = told.get("shots")
    if not isinstance(about, dict) or hashlib.sha256(data).hexdigest() != about.get("sha256"):
        raise InputError(str(path), "is torn or was altered (its sha256 is not threat.toml's)", "learn it again")
    try:
        shots = pl.read_parquet(BytesIO(data))
    except PolarsError as error:
        raise InputError(str(path), "is not the Parquet file that was written", "learn it again") from error
    if shots.height != about.get("rows") or shots.height == 0 or shots.width == 0:
        raise InputError(
            str(path), f"holds {shots.height} shots, threat.toml says {about.get('rows')}", "learn it again"
        )
    return shots


def _threat(path: Path, name: str, told: Mapping[str, Any], shots: pl.DataFrame) -> Threat:
    def text(key: str) -> str:
        value = told.get(key, "")
        if not isinstance(value, str):
            raise InputError(f"{path}, {key}", "is not text", "mend it or learn the threat again")
        return value

    def texts(key: str) -> tuple[str, ...]:
        value = told.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{path}, {key}", "is not a list of texts", "mend it or learn the threat again")
        return tuple(value)

    if text("name") != name:
        raise InputError(f"{path}, name", f"is not {name}, the folder's", "rename the folder back")
    if text("kind") not in ("flow", "table"):
        raise InputError(f"{path}, kind", "is neither flow nor table", "mend it or learn the threat again")
    return Threat(
        name=name,
        shots=shots,
        kind=text("kind"),
        fingerprint=str(told["shots"].get("fingerprint", "")),
        attack=texts("attack"),
        description=text("description"),
        severity=text("severity") or "medium",
        references=texts("references"),
        source=text("source"),
        created=text("created"),
    )
