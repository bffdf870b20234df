"""Detectors that see no shot: the peers at K = 0, and the control beside every K."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kshot.bench.detector import Untrained
from kshot.learners import Adapted
from kshot.learners.classics import Anomaly, OneHot
from kshot.learners.reading import Floats, Frame, as_frame


class Unlike(Adapted):
    """How unlike the reference a row is; the same for every threat."""

    def __init__(self, encoding: OneHot, measure: Callable[[Floats], Floats]) -> None:
        self._encoding, self._measure = encoding, measure

    def score(self, queries: Frame) -> Floats:
        """Score (m, d) rows."""
        rows = self._encoding(queries)
        return np.asarray(self._measure(rows), np.float64) if len(rows) else np.empty(0)


@dataclass(kw_only=True, eq=False)
class ReferenceOnly(Untrained):
    """A learner that looks at the reference alone."""

    seed: int = 0

    def adapt(self, reference: Frame, shots: Frame, labels: NDArray[Any] | None = None) -> Adapted:
        """Fit on the reference; shots are not looked at."""
        encoding = OneHot(as_frame(reference))
        return Unlike(encoding, self.fit(encoding(reference)))

    @abstractmethod
    def fit(self, rows: Floats) -> Callable[[Floats], Floats]:
        """Fit on (n, d) benign rows; return what scores (m, d) rows."""


@dataclass(kw_only=True, eq=False)
class Control(Anomaly):
    """The K = 0 control: beside shots it is that of the reference protocol, without any it has the reference alone."""

    name: ClassVar[str] = "anomaly"

    def adapt(self, reference: Frame, shots: Frame, labels: NDArray[Any] | None = None) -> Adapted:
        """Keep the reference."""
        if len(shots):
            return super().adapt(reference, shots, labels)
        encoding = OneHot(as_frame(reference))
        rows = encoding(reference)
        estimator = self.fit(rows, np.zeros(len(rows), np.int64))
        return Unlike(encoding, lambda queries: -estimator.predict_proba(queries)[:, 0])


@dataclass(kw_only=True, eq=False)
class IsolationForestPeer(ReferenceOnly):
    """Isolation forest (Liu, Ting and Zhou 2008)."""

    name: ClassVar[str] = "isolation-forest"
    n_trees: int = 300

    def fit(self, rows: Floats) -> Callable[[Floats], Floats]:
        """Grow the trees."""
        from sklearn.ensemble import IsolationForest

        model = IsolationForest(n_estimators=self.n_trees, random_state=self.seed).fit(rows)
        return lambda queries: -np.asarray(model.score_samples(queries), np.float64)


@dataclass(kw_only=True, eq=False)
class OneClassSvm(ReferenceOnly):
    """One-class support vector machine (Schölkopf et al. 2001), on standardised columns."""

    name: ClassVar[str] = "one-class-svm"
    nu: float = 0.05

    def fit(self, rows: Floats) -> Callable[[Floats], Floats]:
        """Fit the boundary."""
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import OneClassSVM

        model = make_pipeline(StandardScaler(), OneClassSVM(nu=self.nu, gamma="scale")).fit(rows)
        return lambda queries: -np.asarray(model.decision_function(queries), np.float64)


@dataclass(kw_only=True, eq=False)
class Ecod(ReferenceOnly):
    """ECOD (Li et al. 2022): the sum over columns of how far out a cell lies, by empirical tails.

    Of the left tails, the right ones, and the one on the side of each column's skew, the greatest sum counts
    (their equations 5 to 8). Tails are those of the reference alone, so that a row's score is its own.
    """

    name: ClassVar[str] = "ecod"

    def fit(self, rows: Floats) -> Callable[[Floats], Floats]:
        """Sort each column."""
        ordered = np.sort(rows, 0)
        n = len(rows)
        centred = rows - rows.mean(0)
        left_skewed = (centred**3).mean(0) < 0.0

        def measure(queries: Floats) -> Floats:
            left, right = np.empty(queries.shape), np.empty(queries.shape)
            for j in range(queries.shape[1]):
                below = np.searchsorted(ordered[:, j], queries[:, j], side="right")
                above = n - np.searchsorted(ordered[:, j], queries[:, j], side="left")
                # A query beyond all of the reference counts itself, so that no tail is empty.
                left[:, j], right[:, j] = -np.log((below + 1) / (n + 1)), -np.log((above + 1) / (n + 1))
            by_skew = np.where(left_skewed, left, right)
            sums = [tails.sum(1) for tails in (left, right, by_skew)]
            return np.asarray(np.max(sums, axis=0), np.float64)

        return measure
