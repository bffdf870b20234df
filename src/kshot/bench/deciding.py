"""From scores to alarms and names at a promised rate: a learner's own, or conformal p-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.bench.detector import KshotDetector, Promising
from kshot.bench.outliers import Control
from kshot.episodes import UNKNOWN, Episode
from kshot.learners import Adapted, Learner
from kshot.learners.reading import Floats, Frame


class Decider:
    """A learner adapted so that it can raise alarms at a rate.

    One that promises nothing is adapted to the first half of the reference; the second half, which it never saw, says
    which scores are rare (split conformal prediction, Papadopoulos et al. 2002). Where it can name threats but not
    say "unknown", a row that raises no alarm of a threat is called unknown where the K = 0 control alarms.
    """

    def __init__(self, learner: Learner, episode: Episode) -> None:
        self._promising: Promising | None = None
        if isinstance(learner, KshotDetector):
            self._promising = learner.adapt_to(episode)
            self._adapted: Adapted = self._promising
            self.attainable = self._promising.attainable
            return
        half = episode.reference.height // 2
        fitted, held = episode.reference[:half], episode.reference[half:]
        self._adapted = learner.adapt(fitted, episode.shots, episode.shot_labels)
        self._held = np.sort(_loudest(self._adapted.score(held)))
        self.attainable = 1.0 / (len(self._held) + 1)
        """The least p-value it can give."""
        self._control: Adapted | None = None
        if episode.n_way > 1:
            self._control = Control().adapt(fitted, episode.shots[:0])
            self._held_unlike = np.sort(self._control.score(held))

    def scores(self, queries: Frame) -> Floats:
        """(m, N) scores of each threat."""
        scores = np.asarray(self._adapted.score(queries), np.float64)
        return scores[:, None] if scores.ndim == 1 else scores

    def p_values(self, queries: Frame) -> Floats:
        """(m,) chance that a benign row is as loud."""
        if self._promising is not None:
            return self._promising.p_values(queries)
        return conformal(self._held, _loudest(self._adapted.score(queries)))

    def names(self, queries: Frame, false_alarm_rate: float) -> NDArray[np.int64]:
        """(m,) 0 benign, 1..N a threat, `UNKNOWN`; half of the rate is the control's where there is one."""
        if self._promising is not None:
            return self._promising.name_open(queries, false_alarm_rate)
        share = false_alarm_rate if self._control is None else false_alarm_rate / 2.0
        scores = self.scores(queries)
        told = np.where(conformal(self._held, scores.max(1)) <= share, scores.argmax(1) + 1, 0)
        if self._control is not None:
            strange = conformal(self._held_unlike, self._control.score(queries)) <= share
            told[(told == 0) & strange] = UNKNOWN
        return told.astype(np.int64)


def conformal(held: Floats, scores: Floats) -> Floats:
    """(m,) p-values, (1 + held-back benign scores at least as great) / (n + 1); `held` (n,) rises."""
    at_least = len(held) - np.searchsorted(held, scores, side="left")
    return np.asarray((1.0 + at_least) / (len(held) + 1.0))


def _loudest(scores: Floats) -> Floats:
    return scores if scores.ndim == 1 else scores.max(1)
