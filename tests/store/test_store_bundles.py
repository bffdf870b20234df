"""Bundles: what was written is read; what differs from its manifest is refused."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

from kshot.errors import InputError, OutputError, UserError
from kshot.records.threats import Threat
from kshot.store import read_bundle, write_bundle

THREAT = Threat("tunnel", pl.DataFrame({"bytes": [1.0, 2.0]}), "table", "f" * 16, attack=("T1046",), severity="high")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle([THREAT], tmp_path / "one.zip")
    return tmp_path / "one.zip"


def _rewritten(bundle: Path, changes: dict[str, bytes | None], *, sums: bool = False) -> Path:
    """The bundle with other files in it, and with their sums in the manifest if asked for."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files |= {name: data for name, data in changes.items() if data is not None}
    files = {name: data for name, data in files.items() if changes.get(name, b"") is not None}
    if sums:
        manifest = json.loads(files["manifest.json"])
        manifest["files"] = {
            name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name != "manifest.json"
        }
        files["manifest.json"] = json.dumps(manifest).encode()
    changed = bundle.with_name("changed.zip")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return changed


@pytest.mark.parametrize("name", ["two.zip", "two"])
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    other = Threat("other", pl.DataFrame({"name": ["a"]}), "table", "e" * 16)
    write_bundle([THREAT, other], tmp_path / name)
    read = {threat.name: threat for threat in read_bundle(tmp_path / name)}
    assert set(read) == {"tunnel", "other"}
    assert read["tunnel"].shots.equals(THREAT.shots)
    assert (read["tunnel"].attack, read["tunnel"].severity) == (THREAT.attack, "high")


def test_the_same_threats_make_the_same_bundle(tmp_path: Path, bundle: Path) -> None:
    write_bundle([THREAT], tmp_path / "again.zip")
    assert bundle.read_bytes() == (tmp_path / "again.zip").read_bytes()


@pytest.mark.parametrize(
    ("changes", "sums", "told"),
    [
        ({"tunnel/shots.parquet": b"PAR1"}, False, "torn or altered"),
        ({"tunnel/shots.parquet": b"PAR1"}, True, "sha256 is not threat.toml's"),
        ({"tunnel/threat.toml": None}, False, "missing or not named"),
        ({"tunnel/threat.toml": None}, True, "in part only"),
        ({"../evil/threat.toml": b"x"}, True, "which no bundle of threats does"),
        ({"/etc/passwd": b"x"}, True, "which no bundle of threats does"),
        ({"tunnel/run.sh": b"x"}, True, "which no bundle of threats does"),
        ({"tunnel/../a/threat.toml": b"x"}, True, "which no bundle of threats does"),
        ({"manifest.json": b"[]"}, False, "damaged manifest.json"),
        ({"manifest.json": b"{"}, False, "damaged manifest.json"),
        ({"manifest.json": None}, False, "no manifest.json"),
        ({"manifest.json": b'{"kind": "other", "format": 1, "files": {}}'}, False, "another kind"),
        ({"manifest.json": b'{"kind": "kshot threats", "format": 9, "files": {}}'}, False, "newer"),
    ],
)
def test_what_is_not_as_its_manifest_says_is_refused(
    bundle: Path, changes: dict[str, bytes | None], sums: bool, told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        read_bundle(_rewritten(bundle, changes, sums=sums))
    assert "\n" not in str(caught.value)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("no zip")
    for path in (tmp_path / "text.zip", tmp_path / "absent.zip", tmp_path):
        with pytest.raises(UserError):
            read_bundle(path)


def test_a_link_in_a_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    write_bundle([THREAT], folder)
    (tmp_path / "outside").write_bytes((folder / "tunnel" / "shots.parquet").read_bytes())
    (folder / "tunnel" / "shots.parquet").unlink()
    (folder / "tunnel" / "shots.parquet").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="link"):
        read_bundle(folder)


def test_a_truncated_zip_is_refused(bundle: Path) -> None:
    data = bundle.read_bytes()
    for cut in (10, len(data) // 2, len(data) - 5):
        bundle.write_bytes(data[:cut])
        with pytest.raises(InputError):
            read_bundle(bundle)


def test_a_folder_that_exists_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists"):
        write_bundle([THREAT], tmp_path)
