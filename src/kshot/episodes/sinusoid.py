"""Sinusoid regression: the task with a known answer on which gradient meta-learners are checked."""

from __future__ import annotations

import numpy as np
import polars as pl

from kshot.episodes.episode import Episode


def sinusoid_episode(rng: np.random.Generator, k_shot: int, n_queries: int) -> Episode:
    """Draw y = A sin(x - phase), A in 0.1..5, phase in 0..pi, x in -5..5 (Finn et al. 2017, section 5.1)."""
    amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0.0, np.pi)
    x = rng.uniform(-5.0, 5.0, k_shot + n_queries)
    y = amplitude * np.sin(x - phase)
    return Episode(
        reference=pl.DataFrame(schema={"x": pl.Float64()}),
        shots=pl.DataFrame({"x": x[:k_shot]}),
        shot_labels=y[:k_shot],
        queries=pl.DataFrame({"x": x[k_shot:]}),
        query_labels=y[k_shot:],
        families=("sinusoid",),
        query_families=np.full(n_queries, "sinusoid", dtype=object),
        table="sinusoid",
        corpus="sinusoid",
        k_shot=k_shot,
        loss="squared-error",
    )
