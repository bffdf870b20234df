"""FewShotClassifier: the scikit-learn estimator, and the front door for programs."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from kshot.detection.case import explain_rows
from kshot.detection.detector import Detector, Judged
from kshot.detection.distill import Distilled, distill
from kshot.detection.explain import Explainer, Explanation
from kshot.detection.frames import BadInputError, frame_names, is_frame, to_frame
from kshot.detection.prior import Prior
from kshot.store import builtin_prior, read_folder

Floats = NDArray[np.float64]
_BENIGN_WORDS = ("benign", "normal")


class FewShotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Find more of what was seen a few times, among rows unlike anything but a benign reference.

    Every cell is described relative to the benign rows (the reference); trees with random and with best cuts, logistic
    regression in rank-Gauss space and the distance to the reference are blended by the number of shots; scores
    become conformal p-values against benign rows that were left out.

    Parameters:
        benign_label: the label of the reference; "auto" takes 0, "benign" or "normal" if there, else the commonest.
        prior: what was meta-learned over other networks: "default" for the one that ships (none does yet), None for
            none, or the folder that `kshot train --learner in-context` wrote. It speaks where shots are few.
        false_alarm_rate: chance that a benign row raises any alert at all, over all threats and "unknown" together.
            With a reference too small for it, `attainable_false_alarm_rate_` is used.
        max_reference: benign rows to fit on, drawn at random; up to 20,000 of the rest calibrate.
        n_trees: trees in the four forests together.
        random_state: seed; the same seed and rows give the same scores.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = np.vstack([rng.normal(size=(300, 4)), rng.normal(4.0, 1.0, size=(3, 4))])
        >>> y = ["benign"] * 300 + ["beacon"] * 3
        >>> model = FewShotClassifier(random_state=0).fit(X, y)
        >>> model.predict(np.full((1, 4), 4.0)).tolist()
        ['beacon']
    """

    def __init__(
        self,
        *,
        benign_label: Any = "auto",
        prior: str | PathLike[str] | None = "default",
        false_alarm_rate: float = 0.01,
        max_reference: int = 2_000,
        n_trees: int = 1_000,
        random_state: Any = None,
    ) -> None:
        self.benign_label = benign_label
        self.prior = prior
        self.false_alarm_rate = false_alarm_rate
        self.max_reference = max_reference
        self.n_trees = n_trees
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        # Where classes overlap `predict` keeps its false-alarm rate rather than its accuracy.
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: Any, y: Any) -> FewShotClassifier:
        """Learn from (n, d) rows: a benign reference and the shots of any number of threats, told apart by `y`.

        Raises:
            BadInputError: no benign rows, or a parameter out of range.
            UserError: a prior that is none, is torn, or is another learner's.
        """
        self._check_parameters()
        frame = self._frame(X, reset=True)
        if y is None:
            raise ValueError("FewShotClassifier requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if len(y) != len(frame):
            raise BadInputError("y", f"has {len(y)} labels for {len(frame)} rows of X", "give one label a row")
        self.classes_, codes = np.unique(y, return_inverse=True)
        benign = self._benign_class(codes)
        self.benign_class_ = self.classes_[benign]
        self.threats_ = np.delete(self.classes_, benign)
        self._order = np.concatenate([[benign], np.delete(np.arange(len(self.classes_)), benign)])
        labels = np.argsort(self._order)[codes]
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        self._detector = Detector(
            frame, labels, rng, n_trees=self.n_trees, max_reference=self.max_reference, prior=_read_prior(self.prior)
        )
        model = self._detector.model
        self._explainer = Explainer(model.columns, model.scale, self._detector.support, self._detector.labels)
        calibration = self._detector.calibration(unknown=False)
        self.attainable_false_alarm_rate_ = calibration.attainable if calibration else float("nan")
        fitted_labels = self._detector.labels
        # Of each shot, in the order of fit's X: share of the reference below it, as if it had not been shown.
        self.shot_scores_ = 1.0 - np.exp(-model.shot_ranks[fitted_labels > 0])
        return self

    def threat_scores(self, X: Any) -> Floats:
        """(n, threats) blended scores in the order of `threats_`; higher is more like the threat."""
        return self._judge(X).scores

    def decision_function(self, X: Any) -> Floats:
        """(n,) with at most one threat, above 0 for `classes_[1]`; else (n, classes), the greatest wins.

        With one threat and a benign label that sorts first, higher is more like the threat. With no threat it is the
        distance from the reference. Zero is where `predict` turns.
        """
        judged = self._judge(X)
        margins = self._margins(judged)
        if len(self.threats_) == 0:
            return judged.unusual
        if len(self.threats_) == 1:
            return margins[:, 0] if self._order[0] == 0 else -margins[:, 0]
        out = np.empty((len(margins), len(self.classes_)))
        out[:, self._order[0]] = 0.0
        out[:, self._order[1:]] = margins
        return out

    def predict_proba(self, X: Any) -> Floats:
        """(n, classes) soft-max of the decision scores; a ranking, not a promise: promises are `p_values`."""
        margins = np.column_stack([np.zeros(len(X)), self._margins(self._judge(X))])[:, : len(self.classes_)]
        odds = np.exp(margins - margins.max(1, keepdims=True))
        out: Floats = np.empty(odds.shape)
        out[:, self._order] = odds / odds.sum(1, keepdims=True)
        return out

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) the threat most alike where the row raises an alert at `false_alarm_rate`, else the benign label."""
        judged = self._judge(X)
        margins = self._margins(judged)
        alarm = (margins > 0.0).any(1)
        return np.asarray(self.classes_[self._order[np.where(alarm, judged.best + 1, 0)]])

    def predict_open(self, X: Any) -> NDArray[Any]:
        """(n,) as `predict`, but "unknown" where it is the distance from the reference that raises the alert."""
        judged = self._judge(X, unknown=True)
        calibration = self._detector.calibration(unknown=True)
        labels = np.full(len(judged.unusual), self.benign_class_, dtype=object)
        if calibration is None:
            return labels
        alarm = judged.p_values <= max(self.false_alarm_rate, calibration.attainable)
        names = np.array([*self.threats_.tolist(), "unknown"], dtype=object)
        labels[alarm] = names[judged.best[alarm]]
        return labels

    def p_values(self, X: Any, *, unknown: bool = False) -> Floats:
        """(n,) chance that a benign row scores as high on any threat (and, with `unknown`, is as unlike the reference).

        nan where too few benign rows were given to calibrate (20).
        """
        return self._judge(X, unknown=unknown).p_values

    def explain(self, X: Any, top: int = 3, *, counterfactual: bool = False) -> list[Explanation]:
        """Say for each row which columns speak loudest, which shots and benign rows are nearest and where they differ.

        With `counterfactual` also the fewest columns that would have to be as in a benign row for `predict` to raise no
        alert, found by search: about a second a row.
        """
        check_is_fitted(self)
        frame = self._frame(X, reset=False)

        def alarms(rows: pl.DataFrame) -> tuple[Floats, NDArray[np.bool_]]:
            judged = self._detector.judge(rows, unknown=False)
            margins = self._margins(judged).max(1, initial=-np.inf)
            return judged.surprises.max(1), margins > 0.0

        names = [*self.threats_.tolist()]
        asked = alarms if counterfactual else None
        return explain_rows(self._detector, self._explainer, frame, names, top=top, alarms=asked)

    def distill(self, random_state: Any = None) -> Distilled:
        """Turn this detector into a few dozen small trees that screen a million rows a second, with their loss stated.

        `small.passes(small.scores(small.read(X)))` flags the rows that are worth this one's judgement: `share` of the
        benign rows, and `kept` of what it would alarm on at 1 %.

        Raises:
            BadInputError: fewer than 200 benign rows to measure it on.
        """
        check_is_fitted(self)
        seed = self.random_state if random_state is None else random_state
        return distill(self._detector, np.random.default_rng(check_random_state(seed).randint(2**31 - 1)))

    def _judge(self, X: Any, *, unknown: bool = False) -> Judged:
        check_is_fitted(self)
        return self._detector.judge(self._frame(X, reset=False), unknown=unknown)

    def _margins(self, judged: Judged) -> Floats:
        """(n, threats) above 0 where the alert is raised, the most alike threat greatest; in nats.

        With a reference too small for `false_alarm_rate` nothing can be promised, and the likelier class wins.
        """
        if not len(self.threats_):
            return np.empty((len(judged.unusual), 0))
        most = judged.likeness.max(1)
        calibration = self._detector.calibration(unknown=False)
        if calibration is None or calibration.attainable > self.false_alarm_rate:
            return np.asarray(judged.likeness, np.float64)
        alarm = judged.surprises.max(1) - calibration.threshold(self.false_alarm_rate)
        return np.asarray(alarm[:, None] + judged.likeness - most[:, None], np.float64)

    def _frame(self, X: Any, *, reset: bool) -> pl.DataFrame:
        if not is_frame(X):
            array = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
            frame = to_frame(array, None if reset else self._names)
        else:
            if reset:
                validate_data(self, X, skip_check_array=True, reset=True)
            frame = to_frame(X)
            if frame_names(X) is None:
                frame = frame.rename({old: f"x{i}" for i, old in enumerate(frame.columns)})
        if reset:
            if not len(frame):
                raise BadInputError("X", "has no rows", "give a reference and some shots")
            self._names: list[str] = frame.columns
        return frame

    def _benign_class(self, codes: NDArray[np.intp]) -> int:
        if not (isinstance(self.benign_label, str) and self.benign_label == "auto"):
            found = np.flatnonzero(self.classes_ == self.benign_label)
            if not len(found):
                raise BadInputError(
                    "y", f"no row is labelled {self.benign_label!r}", "give benign rows as the reference"
                )
            return int(found[0])
        for i, label in enumerate(self.classes_.tolist()):
            if label == 0 or (isinstance(label, str) and label.strip().lower() in (*_BENIGN_WORDS, "0")):
                return i
        return int(np.bincount(codes).argmax())

    def _check_parameters(self) -> None:
        if not 0.0 < self.false_alarm_rate < 1.0:
            raise BadInputError(
                "false_alarm_rate", f"{self.false_alarm_rate} is not between 0 and 1", "0.01 is 1 in 100"
            )
        if self.max_reference < 1 or self.n_trees < 1:
            raise BadInputError("max_reference and n_trees", "must be at least 1")


def _read_prior(told: str | PathLike[str] | None) -> Prior | None:
    if told is None:
        return None
    files = builtin_prior() if told == "default" else read_folder(Path(told))
    return Prior.read(files, str(told)) if files is not None else None
