"""One fit for all threats: cells, members and their blend, with held-out scores of the reference."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.blend import Blend, Standard, rank_of_shots
from kshot.detection.columns import Columns
from kshot.detection.forest import Forest, grow
from kshot.detection.linear import Logistic, fit_logistic
from kshot.detection.neighbours import Neighbours
from kshot.detection.prior import Context, Prior
from kshot.detection.reference import Cells, ReferenceScale
from kshot.detection.text_member import TextMember
from kshot.learners.reading import LearnerInputError

Floats = NDArray[np.float64]
_CHUNK_ROWS = 2_000
"""Scored at once: what is made of 20,000 takes 460 MiB, of 4,000 180, in the same time."""
_MOST_THREADS = 4
_PENALTY = 1.0
"""Of the logistic member: a standard normal prior on the weight of each rank-Gauss column."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the forests."""

    is_relative: bool
    """Whether it sees, beside the raw values, what they are to the reference; it then leaves out shots in turn."""
    best_cuts: bool
    tree_share: float
    """Of all trees, where every kind is grown."""

    def weight(self, n_shots: NDArray[np.float64]) -> Floats:
        """(T,) numbers of shots -> (T,) its weight in the mean of the forests."""
        several = 1.0 - 1.0 / n_shots
        relative, best = _RELATIVE * several, _BEST_CUTS * several
        out: Floats = (relative if self.is_relative else 1.0 - relative) * (best if self.best_cuts else 1.0 - best)
        return out


_RELATIVE = 0.3
_BEST_CUTS = 0.5
"""Shares of the mean where shots are many. Raw values are sharper at few false alarms, relative ones carry further;
random cuts smooth where shots are few, best cuts follow them where they are several: one shot is told apart by a
hundred cuts that are all as good. The errors differ, too."""
FORESTS = (
    Kind(False, False, 0.36),
    Kind(True, False, 0.24),
    Kind(False, True, 0.24),
    Kind(True, True, 0.16),
)


MEMBERS = ("random cuts", "random cuts, relative", "best cuts", "best cuts, relative", "logistic", "texts")
"""The forests in the order of `FORESTS`, the logistic member, and n-grams (0 where no column is text)."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What the members make of n rows."""

    threats: Floats
    """(n, T) blended score of each threat, in the reference's own spreads; higher is more like the threat."""
    unusual: Floats
    """(n,) distance from the reference, standardised the same way; uses no shot."""
    likeness: Floats
    """(n, T) the forests' log-odds of each threat against benign, all classes weighing the same: which one it is."""
    members: Floats
    """(n, T, M) what each of `MEMBERS` says, in the reference's own spreads; nan of a shot that a member always saw."""


class Model:
    """Learned from reference rows and shots; scores rows one by one, whatever else is scored with them."""

    columns: Columns
    scale: ReferenceScale
    support: Scores
    """Of the rows it was fitted on, each as if left out; what is measured on its benign rows calibrates."""
    shot_ranks: Floats
    """(support rows,) of a shot -ln of the share of the reference above it, as if left out; nan where it never was."""

    def __init__(
        self,
        support: pl.DataFrame,
        labels: NDArray[np.intp],
        rng: np.random.Generator,
        *,
        n_trees: int,
        prior: Prior | None = None,
    ) -> None:
        """Learn from `support` rows labelled 0 (benign) to T; the benign ones are what all is measured against."""
        benign = labels == 0
        self.n_threats = int(labels.max()) if len(labels) else 0
        self.columns = Columns.learn(support, benign)
        values, texts = self.columns.read(support)
        self.scale = ReferenceScale(values[benign])
        cells = self.scale.cells(values)
        self._used = np.flatnonzero(np.ptp(cells.raw, axis=0) > 0) if len(cells) else np.empty(0, np.intp)
        self._spelled = self._used[[not self.columns.implied[j] for j in self._used]]
        gauss = cells.gauss[:, self._used]
        self._neighbours = Neighbours(gauss[benign])
        distance = self._neighbours.distance(gauss)
        distance[benign] = self._neighbours.held_out()
        self._unusual = Standard.of(distance[benign, None])
        unusual = self._unusual(distance[:, None])[:, 0]
        self._forests: list[Forest | None] = []
        self._weights = np.empty((len(FORESTS), 0))
        self._linear: list[Logistic] = []
        self._text: TextMember | None = None
        self._prior: _PriorMember | None = None
        self._standards: list[Standard] = []
        self.shot_ranks = np.full(len(labels), np.nan)
        threats, members = np.empty((len(labels), 0)), np.empty((len(labels), 0, len(MEMBERS)))
        if self.n_threats:
            threats, members = self._fit_members(cells, texts, unusual, labels, rng, n_trees, support, prior)
        self.support = Scores(threats, unusual, np.empty((len(labels), 0)), members)

    def _fit_members(
        self,
        cells: Cells,
        texts: Mapping[str, Sequence[str]],
        unusual: Floats,
        labels: NDArray[np.intp],
        rng: np.random.Generator,
        n_trees: int,
        support: pl.DataFrame,
        prior: Prior | None,
    ) -> tuple[Floats, Floats]:
        """Fit every member; return (n, T) blended and (n, T, M) members' scores of the support, each row left out."""
        benign = labels == 0
        members: list[Floats] = []
        encodings = self._encodings(cells)
        sources = self._sources()
        n_of = np.bincount(labels)[1:].astype(np.float64)
        self._weights = np.stack([kind.weight(n_of) for kind in FORESTS])
        heard = [bool(weights.any()) for weights in self._weights]
        whole = sum(kind.tree_share for kind, one in zip(FORESTS, heard, strict=True) if one)

        def grown(kind: Kind, own: np.random.Generator, is_heard: bool) -> tuple[Forest | None, Floats]:
            if not is_heard:
                return None, np.tile(np.where(benign, 0.0, np.nan)[:, None], self.n_threats)
            return grow(
                encodings[kind.is_relative],
                labels,
                max(1, round(kind.tree_share / whole * n_trees)),
                own,
                hold_out_shots=kind.is_relative,
                best_cuts=kind.best_cuts,
                crossed=() if kind.best_cuts else sources[kind.is_relative],
            )

        gauss = cells.gauss[:, self._used]

        def told_apart(threat: int) -> tuple[Logistic, Floats]:
            rows = benign | (labels == threat)
            fitted, held = fit_logistic(gauss[rows], labels[rows] == threat, _PENALTY)
            scores = fitted.scores(gauss)
            scores[rows] = held
            return fitted, scores

        # Side by side: neither holds Python's lock for long. Each forest has a generator of its own, so that no order
        # matters.
        with ThreadPoolExecutor(len(FORESTS)) as pool:
            forests = pool.map(grown, FORESTS, rng.spawn(len(FORESTS)), heard)
            lines = pool.map(told_apart, range(1, self.n_threats + 1))
            for forest, held in forests:
                self._forests.append(forest)
                members.append(held)
            self._linear, linear = (list(of) for of in zip(*lines, strict=True))
        members.append(np.stack(linear, 1))
        if texts:
            self._text, held_text = TextMember.fit(texts, labels)
            members.append(held_text)
        self._standards = [Standard.of(m[benign]) for m in members]
        standard = [s(m) for s, m in zip(self._standards, members, strict=True)]
        by_trees, others = standard[: len(FORESTS)], standard[len(FORESTS) :]
        # Shots that the raw forests always saw are judged by the others, which left them out in turn.
        fair = np.mean([own for own, kind in zip(by_trees, FORESTS, strict=True) if kind.is_relative], axis=0)
        self._blend = Blend.by_shots(labels, fair, others[0])
        trees = np.where(benign[:, None], self._mean(by_trees), fair)
        held_prior = None
        if prior is not None and self._blend.prior.any() and benign.any():
            self._prior, held_prior = _PriorMember.fit(prior, support, labels, self._blend.prior)
        out = self._blend(trees, others[0], others[1] if texts else None, unusual, held_prior)
        for threat in range(1, self.n_threats + 1):
            self.shot_ranks[labels == threat] = rank_of_shots(out, labels, threat)
        return out, _side_by_side(standard)

    def scores(self, frame: pl.DataFrame) -> Scores:
        """Score every row of `frame` by itself."""
        # Side by side, for most of the work holds no lock of Python's.
        with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
            chunks = (frame[i : i + _CHUNK_ROWS] for i in range(0, len(frame), _CHUNK_ROWS))
            parts = list(pool.map(self._score, chunks))
        if not parts:
            none = np.empty((0, self.n_threats))
            parts = [Scores(none, np.empty(0), none, np.empty((0, self.n_threats, len(MEMBERS))))]
        return Scores(
            np.concatenate([p.threats for p in parts]),
            np.concatenate([p.unusual for p in parts]),
            np.concatenate([p.likeness for p in parts]),
            np.concatenate([p.members for p in parts]),
        )

    def _score(self, frame: pl.DataFrame) -> Scores:
        values, texts = self.columns.read(frame)
        cells = self.scale.cells(values)
        gauss = cells.gauss[:, self._used]
        unusual = self._unusual(self._neighbours.distance(gauss)[:, None])[:, 0]
        if not self.n_threats:
            none = np.empty((len(frame), 0))
            return Scores(none, unusual, none, np.empty((len(frame), 0, len(MEMBERS))))
        encodings = self._encodings(cells)
        unheard = np.zeros((len(frame), self.n_threats))
        by_trees = [
            unheard if forest is None else forest.logits(encodings[kind.is_relative])
            for forest, kind in zip(self._forests, FORESTS, strict=True)
        ]
        members = [*by_trees]
        members.append(np.stack([m.scores(gauss) for m in self._linear], 1))
        if self._text is not None:
            members.append(self._text.scores(texts))
        standard = [s(m) for s, m in zip(self._standards, members, strict=True)]
        trees, others = self._mean(standard[: len(FORESTS)]), standard[len(FORESTS) :]
        prior = self._prior.scores(frame) if self._prior is not None else None
        blended = self._blend(trees, others[0], others[1] if self._text is not None else None, unusual, prior)
        return Scores(blended, unusual, self._mean(by_trees), _side_by_side(standard))

    def gauss(self, frame: pl.DataFrame) -> Floats:
        """(n, used cells) of `frame` in rank-Gauss space, where distances are measured."""
        return self.scale.cells(self.columns.read(frame)[0]).gauss[:, self._used]

    def _mean(self, of_forests: Sequence[Floats]) -> Floats:
        """Blend what `FORESTS` say, each threat by its own number of shots."""
        return np.asarray((self._weights[:, None, :] * np.stack(of_forests)).sum(0))

    def _sources(self) -> tuple[list[str], list[str]]:
        """Of which input column each feature of the two encodings is made."""
        raw, used = ([self.columns.cells[j].source for j in some] for some in (self._spelled, self._used))
        return raw, [*raw, *used, *used]

    def _encodings(self, cells: Cells) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the two forests see: the values as they are, and beside them what they are to the reference.

        That a number is missing shows in its raw value, below all others. Told once more, as a cell of its own, it
        drowns the rest: what is missing together would be heard as often as there are columns of it.
        """
        raw = cells.raw[:, self._spelled]
        gauss, tail = (view[:, self._used] for view in (cells.gauss, cells.tail))
        both = np.concatenate([raw, gauss, tail], axis=1).astype(np.float32)
        return np.ascontiguousarray(both[:, : raw.shape[1]]), both


@dataclass(frozen=True, slots=True)
class _PriorMember:
    """What was meta-learned, of each threat with so few shots that it is asked."""

    contexts: tuple[Context | None, ...]
    standard: Standard

    @classmethod
    def fit(
        cls, prior: Prior, support: pl.DataFrame, labels: NDArray[np.intp], weights: Floats
    ) -> tuple[_PriorMember, Floats]:
        """Read each threat's shots; return it and (n, T) standardised scores, each row as if left out."""
        benign = labels == 0
        reference = support.filter(benign)
        held = np.zeros((len(labels), len(weights)))
        contexts: list[Context | None] = []
        for threat, weight in enumerate(weights, 1):
            own = labels == threat
            contexts.append(_context(prior, reference, support.filter(own)) if weight else None)
            if (context := contexts[-1]) is not None:
                held[benign, threat - 1], held[own, threat - 1] = context.held_out(len(reference))
                others = ~(benign | own)
                held[others, threat - 1] = context.scores(support.filter(others))
                if own.sum() == 1:
                    held[own, threat - 1] = np.nan
        standard = Standard.of(held[benign])
        return cls(tuple(contexts), standard), standard(held)

    def scores(self, frame: pl.DataFrame) -> Floats:
        """(n, T) standardised; 0 of a threat that it is not asked about."""
        none = np.zeros(len(frame))
        return self.standard(np.stack([none if c is None else c.scores(frame) for c in self.contexts], 1))


def _context(prior: Prior, reference: pl.DataFrame, shots: pl.DataFrame) -> Context | None:
    """None where no column can be read by it (dates alone, say)."""
    try:
        return prior.context(reference, shots)
    except LearnerInputError:
        return None


def _side_by_side(standard: Sequence[Floats]) -> Floats:
    """(n, T, M) from the scores of each member, which lack the last where no column is text."""
    every = [*standard, np.zeros_like(standard[0])] if len(standard) < len(MEMBERS) else standard
    return np.stack(every, -1)
