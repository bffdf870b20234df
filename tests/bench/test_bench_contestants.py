"""Who takes part: every known name, weights chosen by corpus, versions that follow the code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_tables import made_table

from kshot.bench import (
    PROTOCOLS,
    Cell,
    Roster,
    cells_of,
    known_learners,
    not_converged,
    trainings_frame,
    trainings_of,
    units_of,
)
from kshot.bench.cache import key_of
from kshot.bench.contestants import BLIND, DEFAULT, OWN, PEERS, WITHOUT_SHOTS
from kshot.episodes import TaskShape, headline_episodes
from kshot.errors import UserError
from kshot.learners.reading import as_frame

ASKED_FOR = (
    "extra-trees random-forest logistic knn lightgbm catboost anomaly fine-tuning maml anil meta-sgd reptile "
    "prototypical relation ridge-head lstm-learner conv-mixture forest-in-the-loop kshot "
    "isolation-forest ecod one-class-svm"
).split()


def test_every_learner_of_the_field_has_its_name() -> None:
    assert set(ASKED_FOR) <= set(known_learners())
    assert {*PEERS, *DEFAULT, *WITHOUT_SHOTS, *BLIND} <= set(ASKED_FOR)


@pytest.mark.parametrize("name", ["lightgbm", "catboost"])
def test_boosted_trees_find_what_they_were_shown(name: str) -> None:
    pytest.importorskip(name)
    assert name in OWN
    (episode,) = headline_episodes([made_table(families={"far": 6.0})], TaskShape(k_shot=5), 1)
    learner = Roster([name]).contestant(name, (), "made").learner()
    scores = learner.adapt_to(episode).score(episode.queries)
    far = episode.threat_queries
    assert np.median(scores[far]) > np.quantile(scores[~far], 0.95)
    assert np.array_equal(learner.adapt_to(episode).score(episode.queries), scores), "the same seed, the same scores"


@pytest.mark.parametrize(("told", "said"), [
    ({"depth": 3}, "--set depth: there is no such setting; extra-trees has n_trees, seed; knn has"),
    ({"n_trees": "many"}, "--set n_trees=many: extra-trees takes a value such as 300"),
    ({"n_trees": 2.5}, "--set n_trees=2.5: extra-trees takes a value such as 300"),
    ({"n_trees": True}, "--set n_trees=True: extra-trees takes a value such as 300"),
    ({"maml.inner_steps": 3}, "--set maml.inner_steps: maml takes no part; the learners are extra-trees, knn"),
    ({"knn.n_trees": 3}, "--set knn.n_trees: there is no such setting; knn has"),
])  # fmt: skip
def test_a_setting_that_cannot_be_is_refused(told: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as refused:
        Roster(["extra-trees", "knn"], settings=told)
    assert str(refused.value).startswith(said)


def test_a_setting_is_of_all_that_have_it_or_of_one_and_changes_what_is_measured() -> None:
    names = ["extra-trees", "random-forest", "logistic"]
    plain, both = Roster(names), Roster(names, settings={"n_trees": 7})
    one = Roster(names, settings={"extra-trees.n_trees": 7})

    def settings(roster: Roster) -> list[int | None]:
        return [json.loads(roster.contestant(name, (), "made").settings).get("n_trees") for name in names]

    assert (settings(plain), settings(both), settings(one)) == ([300, 300, None], [7, 7, None], [7, 300, None])
    learner = one.contestant("extra-trees", (), "made").learner()
    assert learner.settings()["n_trees"] == 7
    (cell,) = cells_of(PROTOCOLS["headline"], [made_table()], [1], 1, ["iid"], [])
    keys = [key_of(cell, {"made": "0"}, r.contestant("extra-trees", (), "made")) for r in (plain, both, one)]
    assert keys[0] != keys[1] == keys[2]


def write_weights(
    folder: Path,
    seed: int,
    corpora: tuple[str, ...],
    training: dict[str, object] | None = None,
    name: str = "prototypical",
) -> None:
    pytest.importorskip("torch")
    from kshot.learners import make_learner
    from kshot.learners.torch_learner import TorchLearner
    from kshot.learners.weights import Provenance, pack

    learner = make_learner(name, seed=seed)
    assert isinstance(learner, TorchLearner)
    folder.mkdir(parents=True)
    for file, content in pack(learner, Provenance(corpora, training=training or {})).items():
        (folder / file).write_bytes(content)


def test_the_detector_is_scored_with_a_prior_that_never_saw_the_corpus(tmp_path: Path) -> None:
    write_weights(tmp_path / "one/in-context", 0, ("one",), name="in-context")
    write_weights(tmp_path / "two/in-context", 1, ("two",), name="in-context")
    roster = Roster(["kshot", "kshot-prior"], tmp_path)
    told = roster.contestant("kshot-prior", ["one"], "t")
    assert Path(told.weights).parent.name == "two" and told.corpora == ("two",)
    rng = np.random.default_rng(0)
    reference, shots, queries = (
        as_frame(rows) for rows in (rng.normal(size=(120, 5)), rng.normal(2.0, 1.0, (1, 5)), rng.normal(size=(9, 5)))
    )
    plain = roster.contestant("kshot", ["one"], "t").learner().adapt(reference, shots).score(queries)
    assert np.abs(told.learner().adapt(reference, shots).score(queries) - plain).max() > 1e-3
    with pytest.raises(UserError, match=r"kshot-prior in .* was trained on corpus one"):
        roster.contestant("kshot-prior", ["one", "two"], "t")
    with pytest.raises(UserError, match="in-context is meta-learned and needs weights"):
        Roster(["kshot-prior"])


def test_weights_are_chosen_by_corpus_and_refused_by_name(tmp_path: Path) -> None:
    write_weights(tmp_path / "a/prototypical", 0, ("one", "two"))
    write_weights(tmp_path / "b/prototypical", 1, ("three",))
    roster = Roster(["prototypical"], tmp_path)
    assert Path(roster.contestant("prototypical", ["three"], "t").weights).parent.name == "a"
    assert Path(roster.contestant("prototypical", ["two"], "t").weights).parent.name == "b"
    with pytest.raises(UserError, match="was trained on corpus one and is not scored on here -> there"):
        roster.contestant("prototypical", ["one", "three"], "here -> there")


def test_a_key_follows_the_weights_and_the_cell(tmp_path: Path) -> None:
    write_weights(tmp_path / "a", 0, ("one",))
    write_weights(tmp_path / "b", 1, ("one",))
    write_weights(tmp_path / "moved", 0, ("one",))

    def key(folder: str, cell: Cell) -> str:
        contestant = Roster(["prototypical"], tmp_path / folder).contestant("prototypical", ["made"], "made")
        return key_of(cell, {"made": "0"}, contestant)

    cells = cells_of(PROTOCOLS["headline"], [made_table()], [1, 5], 2, ["iid", "blocked"], [])
    assert len({key("a", cell) for cell in cells}) == len(cells) == 8
    assert key("a", cells[0]) != key("b", cells[0])
    assert key("a", cells[0]) == key("moved", cells[0]), "where weights lie changes nothing"


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    write_weights(tmp_path / "a", 0, ("one",))
    manifest = json.loads((tmp_path / "a/manifest.json").read_text())
    weights = tmp_path / "a" / next(iter(manifest["files"]))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="torn or altered"):
        Roster(["prototypical"], tmp_path).contestant("prototypical", [], "made")


def test_a_checkpoint_is_no_trained_learner(tmp_path: Path) -> None:
    write_weights(tmp_path / "prototypical", 0, ("one",))
    checkpoint = tmp_path / "prototypical/checkpoint"
    checkpoint.mkdir()
    told = {"format": 1, "learner": "prototypical", "files": {"training.safetensors": "0"}}
    (checkpoint / "manifest.json").write_text(json.dumps(told))
    found = Roster(["prototypical"], tmp_path).contestant("prototypical", ["made"], "made")
    assert found.weights == str(tmp_path / "prototypical")


def test_weights_say_how_they_were_trained(tmp_path: Path) -> None:
    write_weights(tmp_path / "a", 0, ("one",), {"steps_done": 40, "cpu_minutes": 0.5, "converged": False})
    write_weights(tmp_path / "b", 1, ("made",))
    roster = Roster(["prototypical", "logistic"], tmp_path)
    cells = cells_of(PROTOCOLS["headline"], [made_table("made"), made_table("one")], [1], 1, ["iid"], [])
    cells = [replace(cell, corpora=(cell.data,)) for cell in cells]
    units = units_of(cells, {name: made_table(name) for name in ("made", "one")}, roster)
    told = trainings_frame(trainings_of(units))
    assert told["weights"].to_list() == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert told.select("learner", "steps", "cpu_minutes", "converged").rows() == [
        ("prototypical", 40, 0.5, False),
        ("prototypical", None, None, None),
    ]
    assert not_converged(told) == ["prototypical"]


def test_a_setting_takes_the_place_of_the_trained_one(tmp_path: Path) -> None:
    write_weights(tmp_path / "a", 0, ("one",))
    roster = Roster(["prototypical"], tmp_path, {"max_support": 16})
    found = roster.contestant("prototypical", [], "made")
    assert found.learner().settings()["max_support"] == json.loads(found.settings)["max_support"] == 16
