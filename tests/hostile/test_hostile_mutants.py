"""Seeded mutants through reader and meter; ten thousand of them run by `python -m benchmarks.hostile`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.hostile import SLOW_SECONDS, _watched, corpus_files, made_corpus, meter, resumed, summary
from benchmarks.mutants import MUTATIONS, mutant, mutate
from benchmarks.readers import made_tables, read


def run(corpus: list[Path], count: int, seed: int, folder: Path) -> None:
    path = folder / "mutant"
    read = 0
    for index in range(count):
        parent, data = mutant(index, seed, corpus)
        path.write_bytes(data)
        outcome = meter(path)
        read += outcome.packets
        assert outcome.fault == "", f"mutant {index} of seed {seed}, from {parent}"
        assert outcome.cpu_seconds <= SLOW_SECONDS
    assert read > count  # else the mutants are too broken to test anything


def test_mutants_of_made_captures(tmp_path: Path) -> None:
    run(made_corpus(tmp_path / "corpus"), 300, 7, tmp_path)


@pytest.mark.shared
@pytest.mark.xdist_group("hostile set")
def test_mutants_of_the_hostile_set(hostile_set: Path, tmp_path: Path) -> None:
    run(corpus_files(hostile_set), 500, 8, tmp_path)


def test_a_mutant_is_the_same_every_time(tmp_path: Path) -> None:
    corpus = made_corpus(tmp_path)
    again = made_corpus(tmp_path / "again")
    assert [mutant(i, 1, corpus)[1] for i in range(20)] == [mutant(i, 1, again)[1] for i in range(20)]
    assert mutant(0, 1, corpus)[1] != mutant(0, 2, corpus)[1]


def test_every_mutation_changes_something() -> None:
    data = bytes(range(256)) * 8
    for way in MUTATIONS:
        results = set()
        for seed in range(8):
            out = bytearray(data)
            way(out, np.random.default_rng(seed), bytes(range(255, 0, -1)))
            results.add(bytes(out))
        assert len(results) > 4, way.__name__
    assert mutate(b"", np.random.default_rng(0), b"") != b""


def test_the_watcher_reports_every_mutant_of_its_child(tmp_path: Path) -> None:
    made_corpus(tmp_path)
    outcomes = list(_watched(3, 10, 14, tmp_path))
    assert [outcome.name.split()[1] for outcome in outcomes] == ["10", "11", "12", "13"]
    assert summary(outcomes, "mutants").startswith("4 mutants: 0 faults")


def test_the_watcher_goes_on_behind_a_crash(tmp_path: Path) -> None:
    # A folder without files: each child dies of it at once.
    outcomes = list(_watched(3, 0, 2, tmp_path))
    assert [bool(outcome.fault) for outcome in outcomes] == [True, True]
    assert "2 mutants: 2 faults" in summary(outcomes, "mutants")


def test_a_run_goes_on_behind_the_last_mutant_of_its_journal(tmp_path: Path) -> None:
    made_corpus(tmp_path / "corpus")
    journal = tmp_path / "journal"
    first = resumed(journal, 3, 2, tmp_path / "corpus")
    journal.write_text(journal.read_text().replace('"flows": ', '"flows": 77') + '{"name": "cut')
    again = resumed(journal, 3, 3, tmp_path / "corpus")
    assert [outcome.name for outcome in again[:2]] == [outcome.name for outcome in first]
    assert all(outcome.flows >= 77 for outcome in again[:2])  # taken from the journal, not run again
    assert again[2].name.startswith("mutant 2 ")
    assert len(journal.read_text().splitlines()) == 3
    with pytest.raises(SystemExit, match="another seed"):
        resumed(journal, 4, 3, tmp_path / "corpus")


def test_tables_and_logs_are_read_whole_and_damaged(tmp_path: Path) -> None:
    files = made_tables(tmp_path / "tables")
    for path in files:
        outcome = read(path)
        assert (outcome.refused, outcome.damage, outcome.fault) == ("", "", ""), path
        assert outcome.flows in (2, 60, 300)
    # Text alone: what is decoded apart takes half a second each; `python -m benchmarks.hostile --kind tables` has it.
    corpus = [path for path in files if path.suffix in (".csv", ".gz", ".log")]
    for index in range(60):
        parent, data = mutant(index, 2, corpus)
        (tmp_path / "mutant").write_bytes(data)
        assert read(tmp_path / "mutant").fault == "", f"mutant {index} of {parent}"
