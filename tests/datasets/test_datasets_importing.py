"""Importing: the file that was meant, whole or not at all, never over another by mistake."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from data_maps import MAP, bring, write_logins

from kshot.datasets import Library, find_file, import_dataset, read_declaration
from kshot.errors import InputError, KshotError, OutputError, UserError


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
