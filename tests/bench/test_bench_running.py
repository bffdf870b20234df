"""Runs: nothing is measured twice, a kill loses nothing, processes change no figure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from bench_tables import made_table
from polars.testing import assert_frame_equal

from kshot.bench import PROTOCOLS, Cache, Cell, Roster, Run, cells_of, fingerprint, results_frame, run_units, units_of
from kshot.bench import running as running_module
from kshot.bench.contestants import Contestant
from kshot.bench.detector import Untrained
from kshot.bench.results import KEY, METRICS
from kshot.episodes import LabelledTable
from kshot.learners import Adapted

FIGURES = [*KEY, *METRICS]


def laid_out(tables: list[LabelledTable], seeds: int = 1, ks: tuple[int, ...] = (1,)) -> list[Cell]:
    return cells_of(PROTOCOLS["headline"], tables, ks, seeds, ["iid"], [])


def go(tables: list[LabelledTable], learners: list[str], folder: Path, seeds: int = 1, jobs: int = 1) -> Run:
    named = {table.name: table for table in tables}
    return run_units(units_of(laid_out(tables, seeds), named, Roster(learners)), named, Cache(folder), jobs)


def test_the_second_run_measures_nothing_and_says_the_same(tmp_path: Path) -> None:
    table = made_table()
    first = go([table], ["logistic", "anomaly"], tmp_path, seeds=2)
    second = go([table], ["logistic", "anomaly"], tmp_path, seeds=2)
    assert (first.measured, first.total) == (4, 4) and second.measured == 0
    assert second.rows == first.rows and list(second.skipped) == list(first.skipped)


def test_more_seeds_and_learners_measure_only_these(tmp_path: Path) -> None:
    table = made_table()
    go([table], ["logistic"], tmp_path, seeds=1)
    more = go([table], ["logistic", "anomaly"], tmp_path, seeds=2)
    assert more.total == 4 and more.measured == 3


def test_another_table_of_the_same_name_is_measured_anew(tmp_path: Path) -> None:
    table = made_table()
    go([table], ["anomaly"], tmp_path)
    cells = table.features.with_columns(pl.col("x0") + 1e-6 * (pl.int_range(pl.len()) == 5))
    for other in (
        replace(table, features=cells),
        replace(table, features=table.features.rename({"x0": "y0"})),
        replace(table, labels=np.where(table.labels == "worm", "wurm", table.labels)),
        replace(table, corpus="elsewhere"),
        replace(table, groups=np.arange(len(table)) // 2),
    ):
        assert fingerprint(other) != fingerprint(table)
        assert go([other], ["anomaly"], tmp_path).measured == 1
    assert go([made_table()], ["anomaly"], tmp_path).measured == 0


def test_a_damaged_file_is_measured_again(tmp_path: Path) -> None:
    first = go([made_table()], ["anomaly"], tmp_path)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_bytes(kept.read_bytes()[:50])
    again = go([made_table()], ["anomaly"], tmp_path)
    assert again.measured == 1
    assert results_frame(again.rows).select(FIGURES).equals(results_frame(first.rows).select(FIGURES))


@pytest.mark.slow  # two processes are started anew, each loading all libraries
def test_processes_change_no_figure(tmp_path: Path) -> None:
    alone = go([made_table()], ["logistic", "anomaly"], tmp_path / "one", seeds=2)
    spread = go([made_table()], ["logistic", "anomaly"], tmp_path / "two", seeds=2, jobs=2)
    assert spread.measured == 4
    assert_frame_equal(
        results_frame(spread.rows).select(FIGURES), results_frame(alone.rows).select(FIGURES), abs_tol=1e-9
    )


def test_a_learner_that_fails_costs_the_others_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = running_module.score_cell

    def faulty(cell: Cell, tables: dict[str, LabelledTable], contestant: object) -> object:
        if getattr(contestant, "name", "") == "knn":
            raise ZeroDivisionError("made\nup")
        return scored(cell, tables, contestant)  # type: ignore[arg-type]

    monkeypatch.setattr(running_module, "score_cell", faulty)
    run = go([made_table()], ["knn", "anomaly"], tmp_path)
    (failure,) = run.failures
    assert (failure.learner, failure.reason, failure.ours) == ("knn", "ZeroDivisionError: made up", True)
    assert {row["learner"] for row in run.rows} == {"anomaly"}
    monkeypatch.undo()
    assert go([made_table()], ["knn", "anomaly"], tmp_path).measured == 1, "a failure is tried again"


@pytest.mark.slow  # the program is started twice
def test_a_killed_run_goes_on_where_it_was_and_leaves_no_process(tmp_path: Path) -> None:
    from bench_tables import write_table

    path = write_table(tmp_path / "made.parquet")
    home = tmp_path / "home"
    command = [sys.executable, "-m", "kshot", "bench", "--table", str(path), "--label", "label", "--benign", "benign"]
    command += ["--learners", "logistic,anomaly", "--seeds", "15", "--k", "1", "--jobs", "2"]
    environment = {**os.environ, "KSHOT_HOME": str(home)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as program:
        wait_until(lambda: len(list(home.rglob("*.json"))) > 4)
        children = children_of(program.pid)
        os.kill(program.pid, signal.SIGKILL)
    known = len(list(home.rglob("*.json")))
    assert children
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    total = len(run_again(command, environment))
    assert total == 60 * 2 and 4 < known < 60


class Muddled(Untrained):
    """A learner whose scores depend on what else is asked."""

    name = "knn"

    def adapt(self, reference: Any, shots: Any, labels: Any = None) -> Adapted:
        return MuddledAdapted()


class MuddledAdapted(Adapted):
    def score(self, queries: Any) -> Any:
        values = queries["x0"].to_numpy()
        return values - values.mean()


def test_a_learner_whose_scores_depend_on_the_other_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Contestant, "learner", lambda _: Muddled())
    run = go([made_table()], ["knn"], tmp_path)
    (failure,) = run.failures
    assert not failure.ours and not run.rows
    assert failure.reason == "learner knn: the score of a row depends on the other rows scored with it"


def run_again(command: list[str], environment: dict[str, str]) -> list[str]:
    output = Path(environment["KSHOT_HOME"]) / "out"
    done = subprocess.run([*command, "--output", output], env=environment, capture_output=True, text=True, check=True)
    assert "known from before" in done.stderr and ", 0 known" not in done.stderr
    return pl.read_parquet(output / "results.parquet")["learner"].to_list()


def children_of(parent: int) -> list[int]:
    out = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(told[1]) == parent:
            out.append(int(path.parent.name))
    return out


def wait_until(true: object, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)
