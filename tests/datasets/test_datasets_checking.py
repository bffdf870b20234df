"""The report on an imported set: columns that tell all, shared rows, what is skipped and why."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from data_maps import MAP, logins, write_logins

from kshot.datasets import Finding, Library, check_dataset, import_dataset, parse_declaration, read_declaration


def bring(library: Library, told: dict, frame: pl.DataFrame, folder: Path) -> None:
    path = folder / f"{told['name']}.parquet"
    frame.write_parquet(path)
    import_dataset(library, parse_declaration(told, "map"), told, path, "", replace=True)


def texts(findings: list[Finding], kind: str) -> str:
    return "\n".join(f.text for f in findings if f.kind == kind)


def test_a_column_that_tells_all_is_a_leak(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    dataset, told = read_declaration(write_logins(tmp_path))
    import_dataset(library, dataset, told, tmp_path / "logins.csv", "")
    findings = check_dataset(library, "desk-logins")
    leaks, notes = texts(findings, "leak"), texts(findings, "note")
    assert "column tries alone tells all attacks from benign rows with AUROC 1.000" in leaks
    assert "column tries alone tells brute-force" in leaks + notes
    assert "the map states no checksum" in notes
    assert "38 groups, each whole on one side" in notes
    assert "benign rows: the headline protocol needs 1,500" in notes


def test_a_declared_shortcut_is_held_to(tmp_path: Path) -> None:
    from kshot.datasets.importing import file_sha256

    path = write_logins(tmp_path)
    path.write_text(
        f'sha256 = "{file_sha256(tmp_path / "logins.csv")}"\nshortcut = {{ column = "agent", auroc = 0.7 }}\n' + MAP
    )
    dataset, told = read_declaration(path)
    library = Library(tmp_path / "home")
    assert import_dataset(library, dataset, told, tmp_path / "logins.csv", "").verified
    assert "the map states 0.700 by agent" in texts(check_dataset(library, "desk-logins"), "leak")


def test_rows_in_two_folds_and_in_two_sets_are_counted(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    base = pl.DataFrame({"x": range(60), "y": ["ok"] * 40 + ["worm"] * 20})
    twice = pl.concat([base.with_columns(part=pl.lit("train")), base[:7].with_columns(part=pl.lit("test"))])
    told = {"name": "first", "corpus": "one", "label": "y", "benign": ["ok"], "fold": "part"}
    bring(library, told, twice, tmp_path)
    assert "7 rows are in more than one of the source's own folds (column part)" in texts(
        check_dataset(library, "first"), "leak"
    )
    assert len(library.load("first")) == 60, "a fold is no feature: the repeats are gone"
    bring(library, {"name": "second", "corpus": "two", "label": "y", "benign": ["ok"]}, base[20:], tmp_path)
    assert "40 rows are also in first, of corpus one" in texts(check_dataset(library, "second"), "leak")
    bring(library, {"name": "second", "corpus": "one", "label": "y", "benign": ["ok"]}, base[20:], tmp_path)
    assert "40 rows are also in first, of the same corpus" in texts(check_dataset(library, "second"), "note")


def test_one_sided_and_unlabelled_sets_are_told(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    frame = logins().select("tries", "agent")
    bring(library, {"name": "pool", "corpus": "c", "unlabelled": True}, frame, tmp_path)
    assert "unlabelled: for pseudo-threats alone" in texts(check_dataset(library, "pool"), "note")
    bring(library, {"name": "bad", "corpus": "c", "label": "tries"}, frame, tmp_path)
    notes = texts(check_dataset(library, "bad"), "note")
    assert "rows of one side alone" in notes and "no groups" in notes and "fewer than 40 rows" in notes


def test_a_family_of_one_group_is_told(tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    frame = pl.DataFrame(
        {"x": range(200), "y": ["ok"] * 100 + ["worm"] * 100, "g": ["a"] * 50 + ["b"] * 50 + ["c"] * 100}
    )
    bring(library, {"name": "n", "corpus": "c", "label": "y", "benign": ["ok"], "group": "g"}, frame, tmp_path)
    assert "worm lies in one group (c)" in texts(check_dataset(library, "n"), "note")
