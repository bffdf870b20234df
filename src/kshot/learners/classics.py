"""The classics as controls: what needs no other task, encoded as the reference protocol does."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl

from kshot.learners.learner import Adapted, Labels, Learner, TaskSource, check_labels
from kshot.learners.reading import Floats, Frame, LearnerInputError, as_frame

if TYPE_CHECKING:
    from kshot.learners.outer_loop import OuterLoop, Watcher

_LEVELS = 10
_QUANTILES = 200
_CLIP_GAUSS = 3.0


@dataclass(kw_only=True, eq=False)
class Classic(Learner):
    """A learner that starts from nothing on every task."""

    seed: int = 0

    def meta_fit(
        self,
        source: TaskSource,
        config: OuterLoop | None = None,
        *,
        validation: TaskSource | None = None,
        watcher: Watcher | None = None,
    ) -> Self:
        """Learn nothing: that is what it is there for."""
        return self

    def adapt(self, reference: Frame, shots: Frame, labels: Labels | None = None) -> Adapted:
        """Fit on the shots and the reference."""
        told = check_labels(shots, labels)
        if np.issubdtype(told.dtype, np.floating):
            raise LearnerInputError(f"{self.name} tells threats from benign and cannot regress on values")
        shown, known = as_frame(shots), as_frame(reference)
        encoding = OneHot(pl.concat([shown, known]))
        # The shots first, as the reference protocol has them: trees of one seed depend on the order.
        rows = encoding(pl.concat([shown, known]))
        return Fitted(encoding, self.fit(rows, np.r_[told, np.zeros(len(known), np.int64)]))

    @abstractmethod
    def fit(self, rows: Floats, labels: Labels) -> Any:
        """Fit something with `predict_proba` on (n, d) rows labelled 0..N."""


class OneHot:
    """Numbers, and the ten commonest values of a text as 0/1 columns; by the rows that it is made from."""

    def __init__(self, support: pl.DataFrame) -> None:
        """Learn the columns from (n, d) rows."""
        self._plans: list[tuple[str, str | None]] = []
        for name in support.columns:
            column = support[name]
            if column.dtype == pl.String or isinstance(column.dtype, pl.Categorical):
                strings = column.cast(pl.String)
                if strings.cast(pl.Float64, strict=False).null_count() >= 0.5 * len(strings):
                    values = strings.value_counts(sort=True)[name][:_LEVELS].to_list()
                    self._plans += [(name, value) for value in values if value is not None]
                    continue
            elif not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
                continue
            self._plans.append((name, None))
        with np.errstate(invalid="ignore"):
            # A column that has NaN among these rows goes too: the reference protocol drops it, if not on purpose.
            varies = np.ptp(self._cells(support), 0) > 0
        self._kept = varies if varies.any() else np.ones(len(varies), bool)

    def __call__(self, rows: Frame) -> Floats:
        """(m, d) rows -> (m, columns) without a missing value; columns that told nothing are gone."""
        return self._numbers(rows)[:, self._kept]

    def _numbers(self, rows: Frame) -> Floats:
        return np.nan_to_num(self._cells(rows), nan=-1.0, posinf=1e12, neginf=-1e12)

    def _cells(self, rows: Frame) -> Floats:
        frame = as_frame(rows)
        lacking = [name for name, _ in self._plans if name not in frame.columns]
        if lacking:
            raise LearnerInputError(f"the rows lack the column {lacking[0]}, which the reference has")
        out = np.empty((len(frame), len(self._plans)))
        for j, (name, level) in enumerate(self._plans):
            column = frame[name]
            if level is not None:
                out[:, j] = (column.cast(pl.String) == level).fill_null(False).to_numpy()
            else:
                out[:, j] = column.cast(pl.Float64, strict=False).fill_null(-1.0).to_numpy()
        return out


class Fitted(Adapted):
    """A fitted estimator and the encoding of its rows."""

    def __init__(self, encoding: OneHot, estimator: Any) -> None:
        self._encoding, self._estimator = encoding, estimator

    def score(self, queries: Frame) -> Floats:
        """Probability of each threat."""
        rows = self._encoding(queries)
        n_threats = int(self._estimator.classes_.max())
        if not len(rows):
            return np.empty(0) if n_threats == 1 else np.empty((0, n_threats))
        shares: Floats = self._estimator.predict_proba(rows)
        if 0 not in self._estimator.classes_:  # a task without a reference
            shares = np.column_stack([np.zeros(len(shares)), shares])
        return shares[:, 1] if shares.shape[1] == 2 else shares[:, 1:]


@dataclass(kw_only=True, eq=False)
class ExtraTrees(Classic):
    """Extremely randomised trees (Geurts, Ernst and Wehenkel 2006)."""

    name: ClassVar[str] = "extra-trees"
    n_trees: int = 300

    def fit(self, rows: Floats, labels: Labels) -> Any:
        """Classes weigh the same."""
        from sklearn.ensemble import ExtraTreesClassifier

        model = ExtraTreesClassifier(self.n_trees, class_weight="balanced", random_state=self.seed)
        return model.fit(rows, labels)


@dataclass(kw_only=True, eq=False)
class RandomForest(Classic):
    """A random forest (Breiman 2001)."""

    name: ClassVar[str] = "random-forest"
    n_trees: int = 300

    def fit(self, rows: Floats, labels: Labels) -> Any:
        """Classes weigh the same in each bootstrap."""
        from sklearn.ensemble import RandomForestClassifier

        model = RandomForestClassifier(self.n_trees, class_weight="balanced_subsample", random_state=self.seed)
        return model.fit(rows, labels)


@dataclass(kw_only=True, eq=False)
class Logistic(Classic):
    """Logistic regression in rank-Gauss space."""

    name: ClassVar[str] = "logistic"
    inverse_penalty: float = 10.0

    def fit(self, rows: Floats, labels: Labels) -> Any:
        """Classes weigh the same."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        model = LogisticRegression(C=self.inverse_penalty, max_iter=400, class_weight="balanced")
        return make_pipeline(_rank_gauss(rows), model).fit(rows, labels)


@dataclass(kw_only=True, eq=False)
class NearestNeighbours(Classic):
    """The five nearest neighbours in standardised space, weighted by distance."""

    name: ClassVar[str] = "knn"
    neighbours: int = 5

    def fit(self, rows: Floats, labels: Labels) -> Any:
        """At most as many neighbours as rows."""
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        model = KNeighborsClassifier(min(self.neighbours, len(rows)), weights="distance")
        return make_pipeline(StandardScaler(), model).fit(rows, labels)


@dataclass(kw_only=True, eq=False)
class Anomaly(Classic):
    """The K = 0 control: mean rank-Gauss distance to the five nearest reference rows; looks at no shot."""

    name: ClassVar[str] = "anomaly"
    neighbours: int = 5

    def fit(self, rows: Floats, labels: Labels) -> Any:
        """Keep the reference."""
        if not (labels == 0).any():
            raise LearnerInputError("anomaly is the distance to the reference, and there is none")
        return _Distance(rows[labels == 0], self.neighbours, int(labels.max()))


class _Distance:
    def __init__(self, reference: Floats, neighbours: int, n_threats: int) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.classes_ = np.arange(n_threats + 1)
        self._gauss = _rank_gauss(reference).fit(reference)
        self._near = NearestNeighbors(n_neighbors=min(neighbours, len(reference))).fit(self._space(reference))

    def predict_proba(self, rows: Floats) -> Floats:
        """The distance in the place of each threat's probability."""
        distance = self._near.kneighbors(self._space(rows))[0].mean(1)
        return np.column_stack([-distance, *[distance] * (len(self.classes_) - 1)])

    def _space(self, rows: Floats) -> Floats:
        return np.asarray(np.clip(self._gauss.transform(rows), -_CLIP_GAUSS, _CLIP_GAUSS), np.float64)


def _rank_gauss(rows: Floats) -> Any:
    from sklearn.preprocessing import QuantileTransformer

    return QuantileTransformer(output_distribution="normal", n_quantiles=min(_QUANTILES, len(rows)))
