"""kshot's own detector as one of the contestants, with the promises that only it makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection import FewShotClassifier
from kshot.episodes import UNKNOWN, Episode
from kshot.learners import Adapted, Learner, TaskSource
from kshot.learners.reading import Floats, Frame, as_frame

_UNKNOWN_NAME = "unknown"


class Untrained(Learner):
    """A learner that learns nothing across tasks."""

    def meta_fit(
        self, source: TaskSource, config: Any = None, *, validation: TaskSource | None = None, watcher: Any = None
    ) -> Self:
        """Learn nothing."""
        return self


class Promising(Adapted, ABC):
    """An adapted learner that keeps a false-alarm rate by itself and can say "unknown"."""

    @property
    @abstractmethod
    def attainable(self) -> float:
        """The least p-value it can give."""

    @abstractmethod
    def p_values(self, queries: Frame) -> Floats:
        """(m,) chance that a benign row raises as loud an alert."""

    @abstractmethod
    def name_open(self, queries: Frame, false_alarm_rate: float) -> NDArray[np.int64]:
        """(m,) 0 benign, 1..N the threats, `UNKNOWN`."""


@dataclass(kw_only=True, eq=False)
class KshotDetector(Untrained):
    """`FewShotClassifier` without a prior; without a shot it ranks by the distance from the reference."""

    name: ClassVar[str] = "kshot"
    seed: int = 0
    prior: str | None = None
    """Folder of a trained in-context learner."""

    def adapt(self, reference: Frame, shots: Frame, labels: NDArray[Any] | None = None) -> KshotAdapted:
        """Fit on the shots and the reference."""
        shown, known = as_frame(shots), as_frame(reference)
        told = np.ones(len(shown), np.int64) if labels is None else np.asarray(labels, np.int64)
        model = FewShotClassifier(benign_label=0, random_state=self.seed, prior=self.prior)
        return KshotAdapted(model.fit(pl.concat([shown, known]), np.r_[told, np.zeros(len(known), np.int64)]))

    def adapt_to(self, episode: Episode) -> KshotAdapted:
        """Adapt to what an episode shows."""
        return self.adapt(episode.reference, episode.shots, episode.shot_labels)


class KshotWithPrior(KshotDetector):
    """`FewShotClassifier` with a prior: one that never saw the corpus it is scored on."""

    name: ClassVar[str] = "kshot-prior"


class KshotAdapted(Promising):
    """A fitted classifier."""

    def __init__(self, model: FewShotClassifier) -> None:
        self._model = model

    def score(self, queries: Frame) -> Floats:
        """Decision scores of one threat (or of the distance from the reference), or (m, N) of each."""
        # Those of several threats are on one scale, which `threat_scores` are not.
        scores: Floats = self._model.decision_function(queries)
        return scores[:, 1:] if scores.ndim > 1 else scores

    @property
    def attainable(self) -> float:
        """As the classifier says."""
        return float(self._model.attainable_false_alarm_rate_)

    def p_values(self, queries: Frame) -> Floats:
        """Conformal p-values."""
        return self._model.p_values(queries)

    def name_open(self, queries: Frame, false_alarm_rate: float) -> NDArray[np.int64]:
        """What `predict_open` says at that rate."""
        self._model.false_alarm_rate = false_alarm_rate
        told = self._model.predict_open(queries)
        return np.array([UNKNOWN if name == _UNKNOWN_NAME else int(name) for name in told], np.int64)
