"""Every learner keeps the laws of `kshot.learners.checks`, and finds what can be found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fewshot_problems import Shifted, mean_auroc

from kshot.learners import LEARNERS, Learner, LearnerInputError, make_learner
from kshot.learners.checks import check_learner
from kshot.learners.registry import CLASSICS, learner_class, learner_names

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'kshot[train]'")
torch.set_num_threads(1)

TRAINED = [name for name in LEARNERS if name not in CLASSICS]
SMALL: dict[str, dict[str, Any]] = {
    "forest-in-the-loop": {"n_trees": 32},
    "extra-trees": {"n_trees": 40},
    "random-forest": {"n_trees": 40},
    "maml": {"inner_steps": 3},
    "reptile": {"inner_steps": 4},
    "lstm-learner": {"inner_steps": 3, "hidden": 4},
    "conv-mixture": {"models": 2, "width": 16},
}
ORDERED = {"extra-trees", "random-forest"}
"""scikit-learn's forests draw by position: rows or columns in another order give another forest of the same law."""


def small(name: str) -> Learner:
    return make_learner(name, **SMALL.get(name, {}))


@pytest.mark.parametrize("name", [name for name in LEARNERS if name not in ORDERED])
def test_a_learner_keeps_the_laws(name: str) -> None:
    draw = np.random.default_rng(1)
    check_learner(lambda: small(name), Shifted(k_shot=3).draw(draw), Shifted(n_way=3, k_shot=2).draw(draw))


@pytest.mark.parametrize("name", [name for name in LEARNERS if name not in ORDERED])
def test_one_shot_is_enough_to_adapt(name: str) -> None:
    episode = Shifted(k_shot=1).draw(np.random.default_rng(2))
    assert np.isfinite(small(name).adapt_to(episode).score(episode.queries)).all()


@pytest.mark.parametrize("name", TRAINED)
def test_meta_training_comes_near_the_best_there_is(name: str) -> None:
    from kshot.learners.outer_loop import OuterLoop

    # Knowing the one column that tells, AUROC is .983; untrained gradient learners reach about .90.
    learner = small(name)
    steps = 6 if name == "forest-in-the-loop" else 40
    config = OuterLoop(steps=steps, tasks_per_step=4, warmup_steps=4, learning_rate=5e-3, replay_share=0.5)
    source = Shifted(columns=(3, 6))
    learner.meta_fit(source, config)
    assert mean_auroc(learner, source, 8) > 0.955


@pytest.mark.parametrize("n_reference", [40, 0])
@pytest.mark.parametrize("name", ["prototypical", "ridge-head", "conv-mixture", "logistic"])
def test_threats_are_told_apart(name: str, n_reference: int) -> None:
    from kshot.learners.outer_loop import OuterLoop

    source = Shifted(n_way=3, k_shot=5, n_reference=n_reference, columns=(4, 6), shift=4.0)
    learner = small(name)
    learner.meta_fit(source, OuterLoop(steps=15, tasks_per_step=3, learning_rate=5e-3, warmup_steps=4))
    right = []
    for i in range(6):
        episode = source.draw(np.random.default_rng([5, i]))
        threats = episode.query_labels > 0
        scores = learner.adapt_to(episode).score(episode.queries)
        right.append((scores[threats].argmax(1) + 1 == episode.query_labels[threats]).mean())
    assert np.mean(right) > 0.8, "chance is a third"


def test_classes_of_plain_rows_are_told_apart_at_once() -> None:
    from kshot.learners.networks import Perceptron

    source = Shifted(n_way=3, k_shot=5, columns=(4, 5))
    learner = make_learner("maml", rows="plain", n_outputs=4, network=Perceptron(4, 4), inner_steps=2)
    episode = source.draw(np.random.default_rng(0))
    assert [task.n_classes for task in learner.encode(episode)] == [4]
    assert learner.adapt_to(episode).score(episode.queries).shape == (episode.queries.height, 3)


def test_learners_of_other_packages_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from kshot.learners import registry

    points = [
        EntryPoint("theirs", "kshot.learners.classics:Logistic", registry.GROUP),
        EntryPoint("broken", "math:sqrt", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])
    assert learner_names()[-2:] == ["broken", "theirs"]
    assert make_learner("theirs").name == "logistic"
    with pytest.raises(LearnerInputError, match="the entry point broken is no"):
        make_learner("broken")


def test_the_same_seed_gives_the_same_weights() -> None:
    from kshot.learners.outer_loop import OuterLoop

    config = OuterLoop(steps=3, tasks_per_step=2)
    episode = Shifted().draw(np.random.default_rng(3))

    def scores(seed: int) -> np.ndarray:
        learner = make_learner("maml", seed=seed).meta_fit(Shifted(), config)
        return learner.adapt_to(episode).score(episode.queries)

    assert np.array_equal(scores(0), scores(0))
    assert not np.array_equal(scores(0), scores(1))


def test_a_name_that_is_no_learner_is_told_with_those_that_are() -> None:
    with pytest.raises(LearnerInputError, match="there is no learner mamml; there are: maml, anil"):
        make_learner("mamml")


def test_a_setting_that_a_learner_has_not_is_told_with_those_it_has() -> None:
    with pytest.raises(LearnerInputError, match=r"learner maml: .*'steps'; its settings are .*inner_steps"):
        make_learner("maml", steps=3)


def test_names_of_learners_and_classes_agree() -> None:
    assert learner_names()[: len(LEARNERS)] == list(LEARNERS)
    assert all(learner_class(name).name == name for name in LEARNERS)
