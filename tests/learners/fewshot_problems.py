"""Synthetic few-shot problems whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from kshot.episodes.episode import Episode


@dataclass(frozen=True)
class Shifted:
    """Benign rows are normal in every column, of any unit; a threat is shifted by `shift` deviations in one of them.

    Knowing the column, AUROC is Phi(shift / sqrt 2): .983 for 3. Each task has columns of its own.
    """

    k_shot: int = 5
    n_way: int = 1
    shift: float = 3.0
    columns: tuple[int, int] = (3, 7)
    n_reference: int = 40
    n_queries: int = 24

    def draw(self, rng: np.random.Generator) -> Episode:
        """Draw one task."""
        d = int(rng.integers(*self.columns))
        unit, origin = 10.0 ** rng.uniform(-3, 3, d), rng.normal(0, 100, d)
        where = rng.permutation(d)[: self.n_way]

        def rows(n: int, threat: int | None) -> np.ndarray:
            x = rng.normal(size=(n, d))
            if threat is not None:
                x[:, where[threat]] += self.shift
            return x * unit + origin

        def frame(parts: list[np.ndarray]) -> pl.DataFrame:
            return pl.DataFrame(np.concatenate(parts), schema=[f"c{i}" for i in range(d)])

        labels = np.repeat(np.arange(1, self.n_way + 1), self.k_shot)
        query_labels = np.repeat(np.arange(self.n_way + 1), self.n_queries)
        names = np.array(["benign", *(f"threat {i}" for i in range(1, self.n_way + 1))], dtype=object)
        return Episode(
            reference=frame([rows(self.n_reference, None)]),
            shots=frame([rows(self.k_shot, t) for t in range(self.n_way)]),
            shot_labels=labels,
            queries=frame([rows(self.n_queries, None), *(rows(self.n_queries, t) for t in range(self.n_way))]),
            query_labels=query_labels,
            families=tuple(names[1:].tolist()),
            query_families=names[query_labels],
            table="shifted",
            corpus="synthetic",
            k_shot=self.k_shot,
            loss="binary" if self.n_way == 1 else "multiclass",
        )


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties half."""
    above = scores[positive][:, None] - scores[~positive][None]
    return float((above > 0).mean() + 0.5 * (above == 0).mean())


def mean_auroc(learner: object, source: Shifted, tasks: int = 12, seed: int = 10_000) -> float:
    """Mean over tasks that no training drew."""
    out = []
    for i in range(tasks):
        episode = source.draw(np.random.default_rng([seed, i]))
        scores = learner.adapt_to(episode).score(episode.queries)  # type: ignore[attr-defined]
        out.append(auroc(scores, episode.query_labels == 1))
    return float(np.mean(out))
