"""An episode: a reference, a few shots, queries to judge, and the loss by which the judging is scored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

Loss = Literal["binary", "multiclass", "squared-error"]
"""Balanced binary or multi-class cross-entropy, or mean squared error (regression tasks)."""
UNKNOWN = -1
"""The query label of a family that has no shot."""
REFERENCE_LABEL = 0
"""The label of benign rows; families are 1..N in the order of `Episode.families`."""

Rows = NDArray[np.int64]


def _no_rows() -> Rows:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Episode:
    """One task: what a learner may see, what it is asked, and what is true.

    All frames have the same d columns. What is shown and `queries` never share a row or a group, nor, with all of
    a table's columns, equal cells of one label.
    """

    reference: pl.DataFrame
    """(n, d) benign rows; empty in a task without normal life (plain N-way, regression)."""
    shots: pl.DataFrame
    """(N * K, d) labelled examples; empty where K = 0."""
    shot_labels: NDArray[Any]
    """(N * K,) int64 1..N, or float64 values to regress on."""
    queries: pl.DataFrame
    """(q, d) rows to judge, shuffled."""
    query_labels: NDArray[Any]
    """(q,) int64: 0 benign, 1..N the families, `UNKNOWN` a family without shots; or float64 values."""
    families: tuple[str, ...]
    """The N families that were shown, in the order of their labels."""
    query_families: NDArray[np.object_]
    """(q,) the true label of every query, by name: tells one unknown family from another."""
    table: str
    corpus: str
    k_shot: int
    loss: Loss = "binary"
    split: str = "iid"
    seed: tuple[int, ...] = ()
    """What the generator was seeded with, where the caller had a seed of this episode's own."""
    repetition: int = 0
    wrong_shots: int = 0
    """How many shots are benign rows in truth (noise experiments)."""
    hidden_attacks: int = 0
    """How many reference rows are attacks in truth (noise experiments)."""
    reference_rows: Rows = field(default_factory=_no_rows)
    """Row numbers in the table, for leak checks and caches; empty for synthetic tasks."""
    shot_rows: Rows = field(default_factory=_no_rows)
    query_rows: Rows = field(default_factory=_no_rows)
    pool: pl.DataFrame | None = None
    """Unlabelled rows of the same site, none of them shown or asked; None where there is no pool."""

    @property
    def n_way(self) -> int:
        """Number of families shown."""
        return len(self.families)

    @property
    def family(self) -> str:
        """The families shown, as one text."""
        return "+".join(self.families)

    @property
    def support(self) -> pl.DataFrame:
        """(N * K + n, d) the shots, then the reference: what an ordinary classifier is fitted on."""
        return pl.concat([self.shots, self.reference])

    @property
    def support_labels(self) -> NDArray[Any]:
        """(N * K + n,) labels of `support`."""
        benign = np.full(self.reference.height, REFERENCE_LABEL, self.shot_labels.dtype)
        return np.concatenate([self.shot_labels, benign])

    @property
    def threat_queries(self) -> NDArray[np.bool_]:
        """(q,) whether a query is an attack at all, known or unknown."""
        return np.asarray(self.query_labels != REFERENCE_LABEL, bool)
