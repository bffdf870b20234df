"""Training by folds: the tested fold is not looked at, a stopped training goes on, a whole one stays."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_tables import made_table

pytest.importorskip("torch", reason="torch is not installed: pip install 'kshot[train]'")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import train_folds

from kshot.bench import Roster
from kshot.cli.messages import Messages
from kshot.datasets import catalogue
from kshot.errors import UserError

FOLDS = {"a": ["zero-lab", "one-lab"], "b": ["two-lab", "poor-lab"], "c": ["three-lab", "four-lab"], "d": ["five-lab"]}
INPUTS = {name: name * 4 for name in ("zero", "one", "two", "three", "four", "five", "poor")}
QUIET = Messages(quiet=True)


def tasks(fold: str) -> train_folds.Tasks:
    tables = [made_table(name, n_benign=0 if name == "poor" else 700, n_family=30) for name in INPUTS]
    return train_folds.Tasks(tables, FOLDS, fold, QUIET)


def test_the_tested_fold_is_neither_trained_on_nor_does_it_tell_when_to_stop() -> None:
    for fold, corpora in FOLDS.items():
        made = tasks(fold)
        drawn = {table.corpus for source in (made.source, made.validation) for table in source.tables}
        assert not drawn & set(corpora) and not set(made.corpora) & set(corpora)
        assert not {table.corpus for table in made.source.tables} & {table.corpus for table in made.validation.tables}
    assert tasks("a").held == ["five-lab", "four-lab", "two-lab"], "the last of each fold that can give a task"
    assert tasks("a").corpora == ["five-lab", "four-lab", "three-lab", "two-lab"]


def test_every_learner_that_is_trained_across_tasks_has_its_turn() -> None:
    from kshot.learners.registry import CLASSICS, LEARNERS

    turns = train_folds.meta_learners()
    assert set(turns) == set(LEARNERS) - CLASSICS and len(set(turns)) == len(turns)
    assert {corpus for fold in train_folds.read_folds().values() for corpus in fold} == {d.corpus for d in catalogue()}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"steps": 5, "tasks_per_step": 2, "validate_every": 2, "validation_tasks": 2, "warmup_steps": 1}
    monkeypatch.setattr(train_folds, "LOOP", replace(train_folds.LOOP, **small))


def train(out: Path, minutes: float) -> dict[str, Any]:
    return train_folds.train_one(out / "a/prototypical", "prototypical", tasks("a"), INPUTS, minutes, QUIET)


@pytest.mark.usefixtures("quick")
def test_a_stopped_training_goes_on_with_more_minutes_and_a_finished_one_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = train(tmp_path / "parts", 0.0)
    assert (stopped["steps_done"], stopped["converged"], stopped["validation_curve"]) == (1, False, [])
    assert train(tmp_path / "parts", 0.0) == stopped, "its minutes are up"
    whole, gone_on = train(tmp_path / "whole", 100.0), train(tmp_path / "parts", 100.0)
    assert [step for step, _ in gone_on["validation_curve"]] == [2, 4, 5]
    assert {**gone_on, "cpu_minutes": 0} == {**whole, "cpu_minutes": 0}
    files = [(tmp_path / kind / "a/prototypical/weights.safetensors").read_bytes() for kind in ("whole", "parts")]
    assert files[0] == files[1]
    manifest = tmp_path / "parts/a/prototypical/manifest.json"
    before = manifest.stat().st_mtime_ns
    assert train(tmp_path / "parts", 200.0) == gone_on and manifest.stat().st_mtime_ns == before
    assert set(json.loads(manifest.read_text())["inputs"]) == {"two", "three", "four", "five", "poor", "tasks"}
    assert "a/prototypical: 5 steps in" in capsys.readouterr().out
    found = Roster(["prototypical"], tmp_path / "parts").contestant("prototypical", ["one-lab"], "one")
    assert found.training is not None and found.training.steps == 5


@pytest.mark.parametrize(("learner", "fold", "said"), [
    ("maml", "e", "there is no fold e; there are a, b, c, d"),
    ("knn", "a", "knn learns nothing across tasks"),
    ("mamml", "a", "there is no learner mamml"),
    ("maml", "a", "no data set is imported; do: kshot data import --from DIR"),
])  # fmt: skip
def test_a_mistake_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learner: str, fold: str, said: str
) -> None:
    monkeypatch.setenv("KSHOT_HOME", str(tmp_path))
    with pytest.raises(UserError) as refused:
        train_folds.train_all(tmp_path / "out", [learner], [fold], 1.0)
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)
