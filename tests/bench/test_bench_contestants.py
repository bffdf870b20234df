"""Who takes part: every known name, weights chosen by corpus, versions that follow the code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bench_tables import made_table

from kshot.bench import PROTOCOLS, Cell, Roster, cells_of, known_learners
from kshot.bench.cache import key_of
from kshot.bench.contestants import BLIND, DEFAULT, OWN, PEERS, WITHOUT_SHOTS
from kshot.episodes import TaskShape, headline_episodes
from kshot.errors import UserError

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


def write_weights(folder: Path, seed: int, corpora: tuple[str, ...]) -> None:
    pytest.importorskip("torch")
    from kshot.learners import make_learner
    from kshot.learners.torch_learner import TorchLearner
    from kshot.learners.weights import Provenance, pack

    learner = make_learner("prototypical", seed=seed)
    assert isinstance(learner, TorchLearner)
    folder.mkdir(parents=True)
    for name, content in pack(learner, Provenance(corpora)).items():
        (folder / name).write_bytes(content)


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
