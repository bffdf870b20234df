"""Mixtures of sources of tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from kshot.episodes.draw import TaskShape
from kshot.episodes.episode import Episode
from kshot.episodes.mixture import TaskMixture
from kshot.episodes.synthetic import SyntheticTasks
from kshot.episodes.tables import EpisodeError

SMALL = TaskShape(n_reference=30, n_benign_queries=10, n_family_queries=5, k_shot=1)


@dataclass(frozen=True)
class Wide(SyntheticTasks):
    """A source that marks its tasks."""

    def draw(self, rng: np.random.Generator) -> Episode:
        episode = super().draw(rng)
        object.__setattr__(episode, "table", "wide")
        return episode


def test_sources_are_drawn_by_their_weights_and_repeatably() -> None:
    mixture = TaskMixture([SyntheticTasks(shape=SMALL), Wide(shape=SMALL)], [1.0, 3.0])
    tables = [mixture.draw(np.random.default_rng(seed)).table for seed in range(80)]
    assert 45 <= tables.count("wide") <= 72
    assert tables[:5] == [mixture.draw(np.random.default_rng(seed)).table for seed in range(5)]


@pytest.mark.parametrize("weights", [[], [1.0, 1.0], [0.0]])
def test_weights_that_do_not_fit_are_refused(weights: list[float]) -> None:
    with pytest.raises(EpisodeError, match="weight above 0"):
        TaskMixture([SyntheticTasks(shape=SMALL)], weights)
