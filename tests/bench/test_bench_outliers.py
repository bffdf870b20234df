"""What sees no shot: finds what is far out, and is the same whatever was shown."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from bench_tables import made_table

from kshot.bench import WITHOUT_SHOTS, Roster
from kshot.bench.outliers import Ecod
from kshot.episodes import TaskShape, headline_episodes


@pytest.mark.parametrize("name", WITHOUT_SHOTS)
def test_what_is_far_out_scores_higher(name: str) -> None:
    table = made_table(families={"far": 6.0})
    learner = Roster([name]).contestant(name, (), "made").learner()
    (episode,) = headline_episodes([table], TaskShape(k_shot=0), 1)
    adapted = learner.adapt_to(episode)
    scores = adapted.score(episode.queries)
    far = episode.threat_queries
    assert np.median(scores[far]) > np.quantile(scores[~far], 0.95)
    assert np.allclose(adapted.score(episode.queries[:7]), scores[:7], atol=1e-5)


@pytest.mark.parametrize("name", ["isolation-forest", "ecod", "one-class-svm"])
def test_shots_are_not_looked_at(name: str) -> None:
    table = made_table()
    learner = Roster([name]).contestant(name, (), "made").learner()
    (episode, *_) = headline_episodes([table], TaskShape(k_shot=5), 1)
    queries = episode.queries[:50]
    others = episode.queries[100:105]
    first = learner.adapt(episode.reference, episode.shots).score(queries)
    assert np.array_equal(first, learner.adapt(episode.reference, others).score(queries))


def test_ecod_by_hand() -> None:
    # Reference 1, 2, 3, 10: skewed to the right, so its third sum is the right tails.
    adapted = Ecod().adapt(pl.DataFrame({"x": [1.0, 2.0, 3.0, 10.0]}), pl.DataFrame({"x": []}))
    told = adapted.score(pl.DataFrame({"x": [0.0, 2.5, 99.0]}))
    # Left tail of 0: (0 + 1) / 5; of 2.5 both tails (2 + 1) / 5; right tail of 99: 1 / 5.
    assert told == pytest.approx(-np.log([1 / 5, 3 / 5, 1 / 5]))


def test_the_control_beside_shots_is_the_reference_protocols() -> None:
    from kshot.learners import make_learner

    table = made_table()
    (episode, *_) = headline_episodes([table], TaskShape(k_shot=1), 1)
    ours = Roster(["anomaly"]).contestant("anomaly", (), "made").learner().adapt_to(episode).score(episode.queries)
    assert np.array_equal(ours, make_learner("anomaly").adapt_to(episode).score(episode.queries))
