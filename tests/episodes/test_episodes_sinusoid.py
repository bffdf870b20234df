"""The sinusoid task is the paper's."""

from __future__ import annotations

import numpy as np

from kshot.episodes import sinusoid_episode


def test_sinusoids_are_as_in_the_paper() -> None:
    episode = sinusoid_episode(np.random.default_rng(0), 10, 50)
    assert (episode.loss, episode.shots.height, episode.queries.height) == ("squared-error", 10, 50)
    x = np.concatenate([episode.shots["x"], episode.queries["x"]])
    y = np.concatenate([episode.shot_labels, episode.query_labels])
    design = np.column_stack([np.sin(x), np.cos(x)])
    (a, b), residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    assert residual < 1e-20 and 0.1 <= np.hypot(a, b) <= 5.0 and a * 0 + b <= 1e-12
