"""One fit for all threats: cells, members and their blend, with held-out scores of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.blend import Standard, weights_for
from kshot.detection.columns import Columns
from kshot.detection.forest import Forest, grow
from kshot.detection.linear import Logistic, fit_logistic
from kshot.detection.neighbours import Neighbours
from kshot.detection.reference import Cells, ReferenceScale
from kshot.detection.text_member import TextMember

Floats = NDArray[np.float64]
_CHUNK_ROWS = 20_000
_PENALTY = 1.0
"""Of the logistic member: a standard normal prior on the weight of each rank-Gauss column."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the members make of n rows."""

    threats: Floats
    """(n, T) blended score of each threat, in the reference's own spreads; higher is more like the threat."""
    unusual: Floats
    """(n,) distance from the reference, standardised the same way; uses no shot."""


class Model:
    """Learned from reference rows and shots; scores rows one by one, whatever else is scored with them."""

    def __init__(self, columns: Columns, scale: ReferenceScale, used: NDArray[np.intp], labels: NDArray[np.intp]) -> None:
        self.columns = columns
        self.scale = scale
        self.used = used
        """Indices of the cells that vary over the support."""
        self.n_threats = int(labels.max()) if len(labels) else 0
        self.shots_per_threat = np.bincount(labels, minlength=self.n_threats + 1)[1:]
        self.forest: Forest | None = None
        self.linear: list[Logistic] = []
        self.text: TextMember | None = None
        self._resemblance = np.full(int((labels == 0).sum()), -np.inf)
        self.support = Scores(np.empty((0, 0)), np.empty(0))
        """Of the rows it was fitted on, each as if left out; what is measured on its benign rows calibrates."""

    @classmethod
    def fit(
        cls, support: pl.DataFrame, labels: NDArray[np.intp], rng: np.random.Generator, *, n_trees: int
    ) -> Model:
        """Learn from `support` rows labelled 0 (benign) to T; the benign ones are what all is measured against."""
        benign = labels == 0
        columns = Columns.learn(support, benign)
        values, texts = columns.read(support)
        scale = ReferenceScale(values[benign])
        cells = _join(scale, values, benign)
        used = np.flatnonzero(np.ptp(cells.raw, axis=0) > 0) if len(cells) else np.empty(0, np.intp)
        model = cls(columns, scale, used, labels)
        model._fit_members(cells, texts, labels, rng, n_trees)
        return model

    def _fit_members(
        self,
        cells: Cells,
        texts: dict[str, list[str]],
        labels: NDArray[np.intp],
        rng: np.random.Generator,
        n_trees: int,
    ) -> None:
        benign = labels == 0
        gauss = cells.gauss[:, self.used]
        self.neighbours = Neighbours(gauss[benign])
        distance = np.empty(len(labels))
        distance[benign] = self.neighbours.held_out()
        distance[~benign] = self.neighbours.distance(gauss[~benign])
        self._unusual = Standard.of(distance[benign, None])
        unusual = self._unusual(distance[:, None])[:, 0]
        self.support = Scores(np.empty((len(labels), 0)), unusual)
        if self.n_threats == 0:
            return
        members: list[Floats] = []
        if len(self.used):
            self.forest, left_out = grow(_encodings(cells, self.used), labels, n_trees, rng)
            members.append(left_out)
            self._resemblance = left_out[benign].max(1)
        else:
            members.append(np.zeros((len(labels), self.n_threats)))
        linear = []
        for threat in range(1, self.n_threats + 1):
            rows = benign | (labels == threat)
            fitted, held = fit_logistic(gauss[rows], labels[rows] == threat, _PENALTY)
            self.linear.append(fitted)
            all_rows = fitted.scores(gauss)
            all_rows[rows] = held
            linear.append(all_rows)
        members.append(np.stack(linear, 1))
        if texts:
            self.text, held_text = TextMember.fit(texts, labels)
            members.append(held_text)
        self._standards = [Standard.of(m[benign]) for m in members]
        self.support = Scores(self._blend(members, unusual), unusual)

    def scores(self, frame: pl.DataFrame) -> Scores:
        """Score every row of `frame` by itself."""
        parts = [self._score(frame[i : i + _CHUNK_ROWS]) for i in range(0, len(frame), _CHUNK_ROWS)]
        if not parts:
            return Scores(np.empty((0, self.n_threats)), np.empty(0))
        return Scores(np.concatenate([p.threats for p in parts]), np.concatenate([p.unusual for p in parts]))

    def _score(self, frame: pl.DataFrame) -> Scores:
        values, texts = self.columns.read(frame)
        cells = self.scale.cells(values)
        gauss = cells.gauss[:, self.used]
        unusual = self._unusual(self.neighbours.distance(gauss)[:, None])[:, 0]
        if self.n_threats == 0:
            return Scores(np.empty((len(frame), 0)), unusual)
        if self.forest is None:
            members = [np.zeros((len(frame), self.n_threats))]
        else:
            members = [self.forest.logits(_encodings(cells, self.used))]
        members.append(np.stack([m.scores(gauss) for m in self.linear], 1))
        if self.text is not None:
            members.append(self.text.scores(texts))
        return Scores(self._blend(members, unusual), unusual)

    def resemblance(self, frame: pl.DataFrame) -> Floats:
        """(n,) greatest log-odds that any threat's trees give each row, threat and benign weighing the same."""
        if self.forest is None:
            return np.full(len(frame), -np.inf)
        parts = []
        for start in range(0, len(frame), _CHUNK_ROWS):
            cells = self.scale.cells(self.columns.read(frame[start : start + _CHUNK_ROWS])[0])
            parts.append(self.forest.logits(_encodings(cells, self.used)).max(1))
        return np.concatenate(parts) if parts else np.empty(0)

    def held_out_resemblance(self) -> Floats:
        """(reference rows,) the same for those fitted on, by the trees that did not see them."""
        return self._resemblance

    def gauss(self, frame: pl.DataFrame) -> Floats:
        """(n, used cells) of `frame` in rank-Gauss space, where distances are measured."""
        return self.scale.cells(self.columns.read(frame)[0]).gauss[:, self.used]

    def _blend(self, members: Sequence[Floats], unusual: Floats) -> Floats:
        weights = [weights_for(int(k)) for k in self.shots_per_threat]
        standard = [s(m) for s, m in zip(self._standards, members, strict=True)]
        out = standard[0] + np.array([w.linear for w in weights]) * standard[1]
        if len(standard) > 2:
            out = out + np.array([w.text for w in weights]) * standard[2]
        return np.asarray(out + np.array([w.unusual for w in weights]) * unusual[:, None], np.float64)


def _join(scale: ReferenceScale, values: Floats, benign: NDArray[np.bool_]) -> Cells:
    """Describe the support: its benign rows each as if left out, its shots as they are."""
    held, plain = scale.cells(values[benign], held_out=True), scale.cells(values[~benign])
    parts = []
    for a, b in ((held.raw, plain.raw), (held.gauss, plain.gauss), (held.tail, plain.tail), (held.tie, plain.tie)):
        whole = np.empty((len(values), values.shape[1]))
        whole[benign], whole[~benign] = a, b
        parts.append(whole)
    return Cells(*parts)


def _encodings(cells: Cells, used: NDArray[np.intp]) -> list[NDArray[np.float32]]:
    views = (cells.raw, cells.gauss, cells.tail)
    return [np.ascontiguousarray(v[:, used], dtype=np.float32) for v in views]
