"""Folders are written as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kshot.errors import InputError, OutputError
from kshot.store.folders import read_folder, write_folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "learner"
    write_folder(place, {"a": b"1", "b": b"2"})
    write_folder(place, {"a": b"3"})
    assert read_folder(place) == {"a": b"3"}, "the old files are gone"
    assert [path.name for path in place.parent.iterdir()] == ["learner"], "nothing is left beside it"


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "learner"
    write_folder(place, {"a": b"1"})
    with pytest.raises(OutputError, match="cannot write"):
        write_folder(place, {"a": b"2", "no/such/folder": b"3"})
    assert read_folder(place) == {"a": b"1"}


def test_a_crash_between_the_two_renames_is_mended(tmp_path: Path) -> None:
    place = tmp_path / "learner"
    write_folder(place, {"a": b"1"})
    place.rename(tmp_path / ".learner.old")
    (tmp_path / ".learner.part").mkdir()
    assert read_folder(place) == {"a": b"1"}
    write_folder(place, {"a": b"2"})
    assert read_folder(place) == {"a": b"2"}


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no folder; name one that kshot train wrote"):
        read_folder(tmp_path / "nowhere")
