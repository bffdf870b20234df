"""`kshot train`: a learner from one's own table; killed and resumed; mistakes in one line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from cli_runs import Run, one_line

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'kshot[train]'")

QUICK = ["--steps", "4", "--loop", "tasks_per_step=2", "--loop", "validation_tasks=2", "--loop", "validate_every=2",
         "--k", "1,3", "--learner", "prototypical"]  # fmt: skip


def write_table(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(820, 4))
    label = ["normal"] * 700 + ["scan"] * 60 + ["flood"] * 60
    rows[700:760, 0] += 5.0
    rows[760:, 1] -= 5.0
    pl.DataFrame(rows, schema=["a", "b", "c", "d"]).with_columns(pl.Series("label", label)).write_csv(path)
    return path


@pytest.fixture
def tables(tmp_path: Path) -> list[str]:
    paths = [write_table(tmp_path / f"{name}.csv", seed) for seed, name in enumerate(["east", "west"])]
    return [part for path in paths for part in ("--table", str(path))] + ["--label", "label", "--benign", "normal"]


def metrics(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_learner_is_trained_and_says_on_what(run: Run, tables: list[str], tmp_path: Path) -> None:
    out = tmp_path / "prior"
    ran = run("train", *QUICK, *tables, "--validate", "west", "--out", str(out))
    assert ran.code == 0, ran.err
    assert "prototypical trained for 4 steps, best validation loss" in ran.err
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["learner"] == "prototypical"
    assert manifest["corpora"] == ["east", "west"], "what chose the weights was seen as well"
    assert set(manifest["inputs"]) == {"east", "west", "tasks"} and len(manifest["inputs"]["east"]) == 64
    assert manifest["training"]["steps_done"] == 4
    assert [step for step, _ in manifest["training"]["validation_curve"]] == [2, 4]
    assert manifest["training"]["converged"] is False and manifest["training"]["cpu_minutes"] >= 0.0
    assert [record["step"] for record in metrics(out)] == [1, 2, 3, 4]
    assert "validation_loss" in metrics(out)[3] and "validation_loss" not in metrics(out)[2]
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "metrics.jsonl", "weights.safetensors"]


def test_made_up_tasks_are_told_among_the_inputs(run: Run, tables: list[str], tmp_path: Path) -> None:
    out = tmp_path / "prior"
    ran = run("train", *QUICK, *tables, "--validate", "west", "--synthetic-share", "0.5", "--out", str(out))
    assert ran.code == 0, ran.err
    manifest = json.loads((out / "manifest.json").read_text())
    assert "synthetic_share" in manifest["inputs"]["tasks"] and manifest["corpora"] == ["east", "west"]


def test_a_run_that_was_stopped_goes_on_as_if_nothing_had_happened(run: Run, tables: list[str], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    told = ["train", *QUICK, *tables, "--validate", "west"]
    assert run(*told, "--out", str(whole)).code == 0
    stopped = run(*told, "--out", str(parts), "--minutes", "0")
    assert stopped.code == 0 and "trained for 1 steps" in stopped.err and "--resume goes on" in stopped.err
    refused = run(*told, "--out", str(parts))
    assert refused.code == 2
    assert one_line(refused.err) == (
        f"{parts}: holds a training already; give --resume to go on or --replace to begin anew"
    )
    gone_on = run(*told, "--out", str(parts), "--resume")
    assert gone_on.code == 0 and "going on after step 1" in gone_on.err
    assert (parts / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    losses = [[record["loss"] for record in metrics(out)] for out in (parts, whole)]
    assert losses[0] == losses[1]


def test_lines_that_a_kill_left_behind_the_checkpoint_are_taken_out(
    run: Run, tables: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "prior"
    told = ["train", *QUICK, *tables, "--validate", "none", "--out", str(out)]
    assert run(*told, "--minutes", "0").code == 0
    with (out / "metrics.jsonl").open("a") as more:
        more.write('{"step": 2, "loss": 0}\n{"step": 3, "lo')
    assert run(*told, "--resume").code == 0
    assert [record["step"] for record in metrics(out)] == [1, 2, 3, 4]


def test_a_network_of_ones_own(run: Run, tables: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynets.py").write_text(
        "import torch\n"
        "class Wide(torch.nn.Module):\n"
        "    def __init__(self, width=4):\n"
        "        super().__init__()\n"
        "        self.layers = torch.nn.Linear(17, width)\n"
        "    def forward(self, cells):\n"
        "        return self.layers(cells).mean(-2)\n"
    )
    told = ["train", *QUICK, *tables, "--validate", "none", "--model", "mynets:Wide", "--model-set", "width=3"]
    assert run(*told, "--out", str(tmp_path / "prior")).code == 0
    manifest = json.loads((tmp_path / "prior" / "manifest.json").read_text())
    assert (manifest["model"], manifest["model_settings"]) == ("mynets:Wide", {"width": 3})


@pytest.mark.parametrize("arguments, line", [
    (["--learner", "mamml"], "there is no learner mamml; there are: maml, anil"),
    (["--learner", "knn"], "knn learns nothing across tasks; there is nothing to train"),
    (["--set", "depth=3"], "learner prototypical: got an unexpected keyword argument 'depth'; its settings are"),
    (["--set", "depth"], "--set depth: write it as KEY=VALUE"),
    (["--loop", "speed=3"], "--loop: got an unexpected keyword argument 'speed'; there are steps, tasks_per_step"),
    (["--k", "0"], "--k 0: every task needs at least one shot"),
    (["--k", "one"], "--k one: give whole numbers, such as 1,5,10"),
    (["--validate", "north"], "no table is of corpus north; the corpora are east, west"),
    (["--data", "nothing_here"], "there is no data set named nothing_here"),
    (["--data", "net_sdn_ddos"], "data set net_sdn_ddos is not imported; do: kshot data import net_sdn_ddos"),
    (["--label", "verdict"], "has no column 'verdict', named as label"),
    (["--resume"], "holds no training to go on with; leave out --resume"),
    (["--resume", "--replace"], "--resume and --replace exclude each other; give one"),
    (["--device", "quantum"], "--device quantum: torch finds none"),
    (["--model", "nets"], "--model nets: name it as package.module:Class"),
    (["--n-way", "9"], "no table can give such a task"),
    (["--n-way", "2", "--synthetic-share", "0.5"], "--synthetic-share: made-up tasks are of one threat"),
])  # fmt: skip
def test_mistakes_are_told_in_one_line(
    run: Run, tables: list[str], tmp_path: Path, arguments: list[str], line: str
) -> None:
    ran = run("train", *QUICK, *tables, "--quiet", "--out", str(tmp_path / "prior"), *arguments)
    assert ran.code == 2
    assert line in one_line(ran.err)


def test_a_checkpoint_of_another_learner_or_a_torn_one_is_refused(run: Run, tables: list[str], tmp_path: Path) -> None:
    out = tmp_path / "prior"
    told = ["train", *QUICK, *tables, "--quiet", "--validate", "none", "--out", str(out)]
    assert run(*told, "--minutes", "0").code == 0
    other = run(*told, "--resume", "--learner", "relation")
    assert other.code == 2
    assert "checkpoint: holds the learner prototypical, not relation" in one_line(other.err)
    changed = run(*told, "--resume", "--k", "2")
    assert changed.code == 2 and "was trained with another tasks (inputs)" in one_line(changed.err)
    state = next((out / "checkpoint").glob("*.safetensors"))
    state.write_bytes(state.read_bytes()[:-1])
    torn = run(*told, "--resume")
    assert torn.code == 2 and "torn or altered, its hash does not match" in one_line(torn.err)


def test_without_torch_the_extra_is_named(
    run: Run, tables: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else found(name, *rest)
    )
    for more in ([], ["--model", "mynets:Wide"]):
        ran = run("train", *QUICK, *tables, "--out", str(tmp_path / "prior"), *more)
        assert ran.code == 2
        assert one_line(ran.err).endswith("needs an extra: pip install 'kshot[train]'")


def test_mlflow_is_an_extra(run: Run, tables: list[str], tmp_path: Path) -> None:
    if importlib.util.find_spec("mlflow") is not None:
        pytest.skip("MLflow is installed")
    told = ["train", *QUICK, *tables, "--validate", "none", "--quiet", "--mlflow", str(tmp_path / "runs")]
    ran = run(*told, "--out", str(tmp_path / "prior"))
    assert ran.code == 2
    assert one_line(ran.err) == "--mlflow needs an extra: pip install 'kshot[mlflow]'"
