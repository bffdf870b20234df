"""A model and its calibration: shots and a reference in, scores and alarm p-values out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.blas import one_blas_thread
from kshot.detection.calibration import Calibration
from kshot.detection.model import Model
from kshot.detection.prior import Prior

Floats = NDArray[np.float64]
MOST_CALIBRATION_ROWS = 20_000
_ENOUGH_HELD_BACK = 1_000
"""With as many reference rows not fitted on, those fitted on are not needed to calibrate."""
LEAST_CALIBRATION_ROWS = 20
"""Below this many benign rows there is a rank and no p-value."""


@dataclass(frozen=True, slots=True)
class Judged:
    """n rows, judged."""

    scores: Floats
    """(n, T) of every threat."""
    unusual: Floats
    """(n,) distance from the reference."""
    surprises: Floats
    """(n, T) or, with "unknown" as the last, (n, T + 1); comparable between columns."""
    best: NDArray[np.intp]
    """(n,) column of `surprises` that names each row: the threat most alike, or "unknown"."""
    likeness: Floats
    """(n, T) log-odds of each threat against benign, all classes weighing the same."""
    p_values: Floats
    """(n,) alarm p-value over all columns of `surprises`; nan where nothing calibrates."""


class Detector:
    """Fits on at most `max_reference` benign rows and calibrates on those that it has not seen."""

    def __init__(
        self,
        support: pl.DataFrame,
        labels: NDArray[np.intp],
        rng: np.random.Generator,
        *,
        n_trees: int,
        max_reference: int,
        prior: Prior | None = None,
    ) -> None:
        """Learn from `support` rows labelled 0 (benign) to T."""
        benign = np.flatnonzero(labels == 0)
        held_back = np.empty(0, np.intp)
        if len(benign) > max_reference:
            shuffled = rng.permutation(benign)
            benign = np.sort(shuffled[:max_reference])
            held_back = np.sort(shuffled[max_reference : max_reference + MOST_CALIBRATION_ROWS])
        self.rows = np.sort(np.concatenate([benign, np.flatnonzero(labels != 0)]))
        """Indices of the support rows that were fitted on."""
        self.support = support[self.rows]
        self.labels = labels[self.rows]
        with one_blas_thread():
            self.model = Model(self.support, self.labels, rng, n_trees=n_trees, prior=prior)
        self._held_back: pl.DataFrame | None = support[held_back] if len(held_back) else None
        self._benign_scores: Floats | None = None
        self._calibrations: dict[bool, Calibration | None] = {}

    def calibration(self, *, unknown: bool) -> Calibration | None:
        """Return what turns scores into p-values, measured when first asked for; None with too few rows."""
        if unknown not in self._calibrations:
            scores = self._calibration_scores()
            if not unknown and self.model.n_threats:
                scores = scores[:, :-1]
            enough = len(scores) >= LEAST_CALIBRATION_ROWS
            self._calibrations[unknown] = Calibration.of(scores) if enough else None
        return self._calibrations[unknown]

    def _calibration_scores(self) -> Floats:
        """(n, T + 1) scores of benign rows as if never seen, "unknown" last."""
        if self._benign_scores is None:
            benign = self.labels == 0
            fitted = self.model.support
            scores = np.column_stack([fitted.threats[benign], fitted.unusual[benign]])
            if self._held_back is not None:
                held = self.model.scores(self._held_back)
                fresh = np.column_stack([held.threats, held.unusual])
                scores = fresh if len(fresh) >= _ENOUGH_HELD_BACK else np.concatenate([scores, fresh])
            self._benign_scores = scores
        return self._benign_scores

    def calibration_rows(self, *, unknown: bool) -> tuple[pl.DataFrame, Floats]:
        """Benign rows that calibrate and the greatest surprise (n,) of each, as if never seen; none if not kept."""
        calibration, scores = self.calibration(unknown=unknown), self._calibration_scores()
        if calibration is None or (self._held_back is None and len(scores) != int((self.labels == 0).sum())):
            return self.support[:0], np.empty(0)
        frame = self.support.filter(pl.Series(self.labels == 0))
        if self._held_back is not None:
            frame = self._held_back if len(scores) == len(self._held_back) else pl.concat([frame, self._held_back])
        if not unknown and self.model.n_threats:
            scores = scores[:, :-1]
        return frame, calibration.surprises(scores).max(1)

    def judge(self, frame: pl.DataFrame, *, unknown: bool) -> Judged:
        """Score (n) rows and calibrate them, over all threats and, with `unknown`, over being unlike the reference."""
        with one_blas_thread():
            found = self.model.scores(frame)
            calibration = self.calibration(unknown=unknown)
        scores = np.column_stack([found.threats, found.unusual])
        if not unknown and self.model.n_threats:
            scores = scores[:, :-1]
        surprises = scores if calibration is None else calibration.surprises(scores)
        best = np.zeros(len(frame), np.intp)
        if self.model.n_threats:
            best = found.likeness.argmax(1)
            if unknown:
                # More like benign than like any threat, and yet more surprising as a stranger than as a threat.
                stranger = (found.likeness.max(1) < 0.0) & (surprises[:, -1] > surprises[:, :-1].max(1))
                best = np.where(stranger, self.model.n_threats, best)
        if calibration is None or not len(frame):
            p_values = np.full(len(frame), np.nan)
        else:
            p_values = calibration.p_values(surprises.max(1))
        return Judged(found.threats, found.unusual, surprises, best, found.likeness, p_values)

    def nearest(
        self, frame: pl.DataFrame, threats: NDArray[np.intp], top: int
    ) -> tuple[list[list[int]], list[list[int]]]:
        """For each row its nearest shots of `threats[i]` (from 1) and reference rows, as rows of fit's X."""
        rows, support = self.model.gauss(frame), self.model.gauss(self.support)
        shots: list[list[int]] = []
        benign: list[list[int]] = []
        for row, threat in zip(rows, threats, strict=True):
            order = np.argsort(((support - row) ** 2).sum(1), kind="stable")
            shots.append([int(self.rows[i]) for i in order[self.labels[order] == threat][:top]] if threat else [])
            benign.append([int(self.rows[i]) for i in order[self.labels[order] == 0][:top]])
        return shots, benign
