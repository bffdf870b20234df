"""Imported sets: kept whole or not at all, read back after their checksum, refused when damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
from data_maps import bring

from kshot.datasets import Library, UnknownDataSetError
from kshot.errors import InputError, UserError


def test_what_is_imported_is_read_back(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    manifest = bring(tmp_path, library)
    assert library.names() == ["desk-logins"]
    again = library.manifest("desk-logins")
    assert again == manifest
    assert again.rows == again.rows_read - again.rows_excluded - again.rows_duplicate
    assert not again.verified, "the map states no checksum"
    table = library.load("desk-logins")
    assert (table.name, table.corpus, table.families) == ("desk-logins", "desk", ("brute-force",))
    assert library.load("desk-logins", drop=["agent"]).features.columns == ["tries"]
    assert library.load_reference("desk-logins").families == ("brute-ftp", "brute-ssh")
    with pytest.raises(UserError, match="has no column 'colour' to leave out"):
        library.load("desk-logins", drop=["colour"])
    with pytest.raises(UserError, match="no feature column is left"):
        library.load("desk-logins", drop=["agent", "tries"])


def test_damage_is_told_not_read(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    manifest = bring(tmp_path, library)
    records = library.folder / "desk-logins" / manifest.records_file
    whole = records.read_bytes()
    records.write_bytes(whole[:-9] + b"tampered!")
    with pytest.raises(InputError, match=r"checksum mismatch.*import it again"):
        library.load("desk-logins")
    records.unlink()
    with pytest.raises(InputError, match="no such file or directory; import it again"):
        library.load("desk-logins")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "of format 2, newer than this kshot knows"),
        ("format = 1", "", "names no format"),
        ("[rows]", "[lines]", "is damaged"),
        ("read = 400", 'read = "many"', "is damaged"),
        ('file = "records-', 'file = "../records-', "names rows outside its folder"),
        ("format = 1", "format = ", "is damaged"),
    ],
)
def test_a_damaged_manifest_is_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    library = Library(tmp_path / "home")
    bring(tmp_path, library)
    path = library.folder / "desk-logins/manifest.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message):
        library.manifest("desk-logins")


def test_names_that_are_not_there_are_told_apart(tmp_path: Path) -> None:
    library = Library(tmp_path)
    with pytest.raises(UserError, match="net_sdn_ddos is not imported; do: kshot data import net_sdn_ddos"):
        library.load("net_sdn_ddos")
    with pytest.raises(UnknownDataSetError, match="no data set named nothing-like-it; see: kshot data list"):
        library.load("nothing-like-it")
    bring(tmp_path, Library(tmp_path))
    with pytest.raises(UnknownDataSetError, match="did you mean desk-logins"):
        library.load("desk-login")
