"""The one shape of every learner: fit across tasks, adapt to one from a few shots, score rows."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from kshot.episodes.episode import Episode
from kshot.learners.reading import Floats, Frame, LearnerInputError

if TYPE_CHECKING:
    from kshot.learners.outer_loop import OuterLoop, Watcher

Labels = NDArray[Any]


class TaskSource(Protocol):
    """Where tasks come from: `episodes.EpisodeSampler`, or anything else that draws."""

    def draw(self, rng: np.random.Generator) -> Episode:
        """Draw one episode; the same generator state gives the same one."""
        ...


class Adapted(ABC):
    """A learner adapted to one task."""

    @abstractmethod
    def score(self, queries: Frame) -> Floats:
        """Score (m, d) rows, each alone: (m,) with one threat (or the value predicted), (m, N) with N of them.

        Higher is more like the threat; comparable within one adapted learner only.
        """


@dataclass(kw_only=True, eq=False)
class Learner(ABC):
    """A few-shot learner. Its fields are its settings; `meta_fit` learns across tasks, `adapt` leaves it unchanged."""

    name: ClassVar[str]
    """What it is called in commands, tables and files."""
    uses_pool: ClassVar[bool] = False
    """Whether `adapt_unlabelled` makes something of unlabelled rows."""

    @abstractmethod
    def meta_fit(
        self,
        source: TaskSource,
        config: OuterLoop | None = None,
        *,
        validation: TaskSource | None = None,
        watcher: Watcher | None = None,
    ) -> Learner:
        """Learn across the tasks of `source`; `validation` (tasks of other corpora) tells when to stop.

        A learner that learns nothing across tasks returns itself.
        """

    @abstractmethod
    def adapt(self, reference: Frame, shots: Frame, labels: Labels | None = None) -> Adapted:
        """Adapt to one task.

        Args:
            reference: (n, d) benign rows; empty in plain N-way tasks.
            shots: (k, d) labelled examples, k >= 1.
            labels: (k,) 1..N, or numbers to regress on; all 1 by default.

        Raises:
            LearnerInputError: no shot, columns that differ, labels that do not fit.
        """

    def adapt_unlabelled(self, reference: Frame, shots: Frame, pool: Frame, labels: Labels | None = None) -> Adapted:
        """Adapt to one task beside which (p, d) unlabelled rows of the same site are given; here they are of no use.

        No row that will be scored may be in the pool.

        Raises:
            LearnerInputError: as `adapt`, or an empty pool where one is of use.
        """
        return self.adapt(reference, shots, labels)

    def adapt_to(self, episode: Episode) -> Adapted:
        """Adapt to what an episode shows."""
        if episode.pool is not None:
            return self.adapt_unlabelled(episode.reference, episode.shots, episode.pool, episode.shot_labels)
        return self.adapt(episode.reference, episode.shots, episode.shot_labels)

    def settings(self) -> dict[str, Any]:
        """Return the fields that the constructor takes, to make another one like this."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}


def check_labels(shots: Frame, labels: Labels | None) -> Labels:
    """Return (k,) labels: int64 1..N without gaps, or float32 values.

    Raises:
        LearnerInputError: no shots, or labels that do not fit them.
    """
    if not len(shots):
        raise LearnerInputError("there are no shots; a learner adapts to at least one")
    out = np.ones(len(shots), np.int64) if labels is None else np.asarray(labels)
    if out.shape != (len(shots),):
        raise LearnerInputError(f"{len(shots)} shots and {out.shape[0] if out.ndim else 0} labels; give one label each")
    if np.issubdtype(out.dtype, np.floating):
        return out.astype(np.float32)
    out = out.astype(np.int64)
    if out.min() < 1 or len(np.unique(out)) != out.max():
        raise LearnerInputError("the labels of shots are 1..N, each used at least once; 0 is the reference's")
    return out
