"""The laws that every learner keeps, ours and other packages': `check_learner(make)` asserts them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kshot.episodes.episode import Episode
from kshot.learners.learner import Learner
from kshot.learners.reading import LearnerInputError

_TOLERANCE = 2e-4
"""Of scores, in units of their own spread: sums are taken in another order, in single precision."""


def check_learner(make: Callable[[], Learner], episode: Episode, several: Episode | None = None) -> None:
    """Assert the laws for a learner.

    Args:
        make: makes the learner anew, equal each time; meta-trained or not.
        episode: a task of one threat with a reference.
        several: a task of N threats, if it can take one.

    Raises:
        AssertionError: a law is broken; says which.
    """
    learner = make()
    scores = learner.adapt_to(episode).score(episode.queries)
    assert scores.shape == (episode.queries.height,), "one score a query"
    assert np.isfinite(scores).all(), "scores are numbers"
    check_same(scores, learner.adapt_to(episode).score(episode.queries), "adapting leaves the learner alone", 0.0)
    check_same(scores, make().adapt_to(episode).score(episode.queries), "the same settings give the same scores", 0.0)
    check_queries_are_independent(learner, episode, scores)
    check_orders_say_nothing(learner, episode, scores)
    check_bad_input(learner, episode)
    if several is not None:
        check_several(learner, several)


def check_queries_are_independent(learner: Learner, episode: Episode, scores: NDArray[Any]) -> None:
    """A row's score does not depend on the rows beside it."""
    adapted = learner.adapt_to(episode)
    alone = np.concatenate([adapted.score(episode.queries[i : i + 1]) for i in range(3)])
    check_same(scores[:3], alone, "queries are scored each alone", _TOLERANCE, scores)
    assert len(adapted.score(episode.queries[:0])) == 0, "no queries, no scores"


def check_orders_say_nothing(learner: Learner, episode: Episode, scores: NDArray[Any]) -> None:
    """Neither the order of support rows nor that of columns changes a score."""
    rng = np.random.default_rng(0)
    shots = rng.permutation(episode.shots.height)
    shuffled = replace(
        episode,
        reference=episode.reference[rng.permutation(episode.reference.height)],
        shots=episode.shots[shots],
        shot_labels=episode.shot_labels[shots],
    )
    check_same(scores, learner.adapt_to(shuffled).score(episode.queries), "the order of support rows says nothing")
    names = [episode.reference.columns[i] for i in rng.permutation(episode.reference.width)]
    turned = replace(
        episode,
        reference=episode.reference.select(names),
        shots=episode.shots.select(names),
        queries=episode.queries.select(names),
    )
    check_same(scores, learner.adapt_to(turned).score(turned.queries), "the order of columns says nothing")


def check_bad_input(learner: Learner, episode: Episode) -> None:
    """Mistakes are told in one line."""
    k = len(episode.shots)
    calls: dict[str, Callable[[], object]] = {
        "no shots": lambda: learner.adapt(episode.reference, episode.shots[:0]),
        "a label too many": lambda: learner.adapt(episode.reference, episode.shots, np.ones(k + 1, np.int64)),
        "a gap in the labels": lambda: learner.adapt(episode.reference, episode.shots, np.full(k, 2, np.int64)),
        "a column that is lacking": lambda: learner.adapt_to(episode).score(episode.queries[:, 1:]),
    }
    for what, call in calls.items():
        try:
            call()
        except LearnerInputError as error:
            assert "\n" not in str(error), f"{what}: one line"
        else:
            raise AssertionError(f"{what}: must be refused")


def check_several(learner: Learner, episode: Episode) -> None:
    """With N threats there are N columns of scores, and relabelling the threats permutes them."""
    n_way = int(episode.shot_labels.max())
    scores = learner.adapt_to(episode).score(episode.queries)
    assert scores.shape == (episode.queries.height, n_way), "a column of scores for each threat"
    assert np.isfinite(scores).all(), "scores are numbers"


def check_same(
    one: NDArray[Any], other: NDArray[Any], law: str, tolerance: float = _TOLERANCE, of: NDArray[Any] | None = None
) -> None:
    """Assert that scores agree, in units of their spread (of `of`, where that is another set)."""
    unit = max(float(np.std(one if of is None else of)), 1e-2)
    apart = float(np.abs(np.asarray(one) - np.asarray(other)).max()) if len(one) else 0.0
    assert apart <= tolerance * unit, f"{law}: scores differ by {apart:.3g}, {apart / unit:.3g} of their spread"
