"""Forest in the loop: what a forest says of rows it has not seen, and a labelled pool."""

from __future__ import annotations

import numpy as np
import pytest
from fewshot_problems import Shifted, auroc

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'kshot[train]'")

from kshot.learners import LearnerInputError, make_learner  # noqa: E402
from kshot.learners.forest_features import FEATURES, InnerForest  # noqa: E402


def forest(rng: np.random.Generator, k: int = 4, shift: float = 4.0, kind: str = "extra-trees") -> InnerForest:
    reference, shots = rng.normal(size=(200, 5)), rng.normal(size=(k, 5))
    shots[:, 0] += shift
    return InnerForest(reference, shots, n_trees=48, kind=kind, rng=rng)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["extra-trees", "random-forest"])
def test_a_threat_scores_above_what_is_benign(kind: str) -> None:
    rng = np.random.default_rng(0)
    grown = forest(rng, kind=kind)
    rows = rng.normal(size=(80, 5))
    rows[:40, 0] += 4.0
    features = grown.features(rows)
    for name in ("score", "surprise", "nearest_leaf", "sure_votes"):
        assert auroc(features[:, FEATURES.index(name)], np.arange(80) < 40) > 0.9, name
    for name in ("benign_leaf", "shot_distance"):
        assert auroc(-features[:, FEATURES.index(name)], np.arange(80) < 40) > 0.85, name


def test_the_reference_is_judged_by_trees_that_left_it_out() -> None:
    # Where the shots are like the reference, a benign row is as surprising as its rank: on average 1 nat.
    rng = np.random.default_rng(1)
    grown = forest(rng, k=8, shift=0.0)
    surprise = grown.features(rng.normal(size=(400, 5)))[:, FEATURES.index("surprise")]
    assert surprise.mean() == pytest.approx(1.0, abs=0.2)


def test_one_shot_and_missing_values_are_taken() -> None:
    rng = np.random.default_rng(2)
    reference, shot = rng.normal(size=(60, 3)), np.full((1, 3), np.nan)
    reference[::3, 1] = np.nan
    grown = InnerForest(reference, shot, n_trees=16, kind="extra-trees", rng=rng)
    assert np.isfinite(grown.features(np.vstack([reference, shot]))).all()
    assert len(grown.features(reference[:0])) == 0


def test_before_training_it_is_the_forest() -> None:
    learner = make_learner("forest-in-the-loop", n_trees=32)
    task = learner.encode(Shifted().draw(np.random.default_rng(3)))[0]  # type: ignore[attr-defined]
    outputs = learner.module(torch.from_numpy(task.queries)).detach().numpy()  # type: ignore[attr-defined]
    np.testing.assert_allclose(outputs[:, 1] - outputs[:, 0], task.queries[:, 0], atol=1e-5)


def test_each_threat_has_a_forest_against_the_others() -> None:
    episode = Shifted(n_way=3, k_shot=5, shift=5.0, columns=(4, 5)).draw(np.random.default_rng(6))
    learner = make_learner("forest-in-the-loop", n_trees=48)
    assert len(learner.encode(episode)) == 3  # type: ignore[attr-defined]
    scores = learner.adapt_to(episode).score(episode.queries)
    threats = episode.query_labels > 0
    assert (scores[threats].argmax(1) + 1 == episode.query_labels[threats]).mean() > 0.9
    with pytest.raises(LearnerInputError, match="regresses on values of plain rows only"):
        learner.adapt(episode.reference, episode.shots, np.linspace(0, 1, 15))


def test_a_pool_of_unlabelled_records_helps_where_the_site_has_changed() -> None:
    # The new site's threat is seen once; its records lie around another middle than the shot, benign ones as before.
    rng = np.random.default_rng(4)
    learner = make_learner("forest-in-the-loop", n_trees=32, n_trees_of_pool=120)

    def threat(n: int) -> np.ndarray:
        rows = rng.normal(size=(n, 6))
        rows[:, :3] += rng.uniform(1.5, 6.0, size=(n, 1))  # from faint to loud, in three columns together
        return rows

    gains = []
    for _ in range(4):
        reference, shots = rng.normal(size=(150, 6)), threat(1)
        pool = np.concatenate([rng.normal(size=(300, 6)), threat(60)])
        queries = np.concatenate([rng.normal(size=(200, 6)), threat(200)])
        positive = np.arange(400) >= 200
        alone = auroc(learner.adapt(reference, shots).score(queries), positive)
        pooled = learner.adapt_unlabelled(reference, shots, pool)  # type: ignore[attr-defined]
        gains.append(auroc(pooled.score(queries), positive) - alone)
    assert np.mean(gains) > 0.0
    with pytest.raises(LearnerInputError, match="the pool of unlabelled records is empty"):
        learner.adapt_unlabelled(reference, shots, pool[:0])  # type: ignore[attr-defined]
