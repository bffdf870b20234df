"""Imported sets: kept whole or not at all, read back after their checksum, refused when damaged."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from data_maps import MAP, write_logins

from kshot.datasets import Library, Manifest, UnknownDataSetError, find_file, import_dataset, read_declaration
from kshot.errors import InputError, KshotError, OutputError, UserError


def bring(folder: Path, library: Library, text: str = MAP, **options: bool) -> Manifest:
    dataset, told = read_declaration(write_logins(folder, text))
    return import_dataset(library, dataset, told, folder / "logins.csv", "2026-01-01T00:00:00Z", **options)


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


def test_a_set_is_replaced_only_when_asked_and_leaves_nothing_behind(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    bring(tmp_path, library)
    with pytest.raises(UserError, match="imported already; give --replace"):
        bring(tmp_path, library)
    manifest = bring(tmp_path, library, MAP.replace('"unclear"', '"never"'), replace=True)
    assert "unclear" in manifest.families
    assert sorted(p.name for p in (library.folder / "desk-logins").iterdir()) == [
        "manifest.toml",
        manifest.records_file,
    ]


def test_a_checksum_is_held_to(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    wrong = f'sha256 = "{"0" * 64}"\n' + MAP
    with pytest.raises(InputError, match=r"logins\.csv: is not the file that the map of desk-logins was made for"):
        bring(tmp_path, library, wrong)
    assert library.names() == []
    assert not bring(tmp_path, library, wrong, unverified=True).verified


def test_a_column_that_is_the_label_is_refused(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    with pytest.raises(InputError, match=r"logins\.csv: column 'tool' is the label in other words; name it in drop"):
        bring(tmp_path, library, MAP.replace('gives_away = ["tool"]', ""))
    assert library.names() == []


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


def test_a_home_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        bring(tmp_path, Library(tmp_path / "home"))


def test_the_file_is_found_in_a_folder(tmp_path: Path) -> None:
    dataset, _ = read_declaration(write_logins(tmp_path))
    assert find_file(dataset, tmp_path) == tmp_path / "logins.csv"
    assert find_file(dataset, tmp_path / "logins.csv") == tmp_path / "logins.csv"
    for place, message in ((tmp_path / "no", "no such file or folder"), (tmp_path.parent, "holds no file logins.csv")):
        with pytest.raises(KshotError, match=message):
            find_file(dataset, place)


def test_any_table_that_kshot_reads_can_be_imported(tmp_path: Path) -> None:
    dataset, told = read_declaration(write_logins(tmp_path))
    frame = pl.read_csv(tmp_path / "logins.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.jsonl")
    counts = []
    for name in ("logins.csv", "a.parquet", "a.jsonl"):
        counts.append(import_dataset(Library(tmp_path / f"home-{name}"), dataset, told, tmp_path / name, "").families)
    assert counts[0] == counts[1] == counts[2]
