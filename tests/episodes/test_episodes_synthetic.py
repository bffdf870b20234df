"""Made-up tasks: whole, repeatable, and neither trivial nor hopeless."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score

from kshot.episodes.draw import TaskShape
from kshot.episodes.episode import Episode
from kshot.episodes.synthetic import SYNTHETIC, SyntheticTasks

SHAPE = TaskShape(n_reference=200, n_benign_queries=150, n_family_queries=30)


def drawn(seed: int, **settings: object) -> Episode:
    return SyntheticTasks(shape=SHAPE, k_shots=(1, 5, 10), **settings).draw(np.random.default_rng(seed))  # type: ignore[arg-type]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_an_episode_is_whole(seed: int) -> None:
    episode = drawn(seed)
    assert len(episode.reference) == 200 and len(episode.shots) == episode.k_shot == len(episode.shot_labels)
    assert (episode.query_labels == 0).sum() == 150 and 15 <= (episode.query_labels == 1).sum() <= 30
    assert episode.reference.schema == episode.shots.schema == episode.queries.schema
    assert episode.corpus == SYNTHETIC and 4 <= episode.queries.width <= 70
    numbers = episode.queries.select(pl.selectors.numeric())
    assert not numbers.select(pl.any_horizontal(pl.all().is_nan() | pl.all().is_infinite())).to_series().any()


def test_the_same_generator_state_gives_the_same_task() -> None:
    one, other = drawn(3), drawn(3)
    assert one.queries.equals(other.queries) and one.reference.equals(other.reference)
    assert not drawn(4).queries.equals(one.queries)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_attacks_hide_in_the_reference_only_where_asked(share: float) -> None:
    hidden = [drawn(seed, contaminated_share=share).hidden_attacks for seed in range(10)]
    assert (min(hidden) > 0) if share else (max(hidden) == 0)


def test_tasks_are_neither_trivial_nor_hopeless() -> None:
    def auroc(seed: int) -> float:
        shape = TaskShape(n_reference=200, n_benign_queries=150, n_family_queries=30, k_shot=5)
        e = SyntheticTasks(shape=shape, missing_share=0.0).draw(np.random.default_rng(seed))
        numbers = [name for name, dtype in e.queries.schema.items() if dtype.is_numeric()]
        trees = ExtraTreesClassifier(50, class_weight="balanced", random_state=0)
        trees.fit(e.support.select(numbers).to_numpy(), e.support_labels)
        return float(roc_auc_score(e.query_labels, trees.predict_proba(e.queries.select(numbers).to_numpy())[:, 1]))

    found = [auroc(seed) for seed in range(24)]
    assert 0.7 < np.mean(found) < 0.97
    assert max(found) > 0.95 and min(found) < 0.8
