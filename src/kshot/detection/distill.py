"""A detector turned into a few small trees, which say at line rate what is worth its judgement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.columns import Columns
from kshot.detection.detector import Detector
from kshot.detection.distill_kernels import bin_rows, boosted_scores, grow_boosted
from kshot.detection.frames import BadInputError, to_frame

Floats = NDArray[np.float64]
LEAST_ROWS = 200
"""Benign rows that were not fitted on, below which no share of them can be stated to a percent."""
SHARES = (0.02, 0.05, 0.1)
"""Of the benign rows, that may pass: the least that keeps enough is taken."""
KEPT_ENOUGH = 0.995
JUDGED_RATE = 0.01
"""What must be kept is what the detector alarms on at this rate."""
_TREES, _DEPTH, _RATE = 40, 5, 0.25
_TRIED = 64
"""Columns that each tree may cut, drawn anew."""
_MIN_LEAF = 5
_MOST_EDGES = 63
_MOST_BENIGN = 8_000
_CROSSED = 2_000
"""Made rows of each part: a benign row with some columns of a shot."""


@dataclass(frozen=True, slots=True)
class Distilled:
    """What screens in a detector's stead: one number a row, and which rows it should judge."""

    columns: Columns
    """What it reads, as the detector does."""
    feature: NDArray[np.int32]
    """(trees, inner nodes) which column each node cuts."""
    threshold: NDArray[np.float32]
    """(trees, inner nodes) above which a row goes right."""
    value: NDArray[np.float32]
    """(trees, leaves)."""
    base: float
    """Its score before any tree."""
    benign: NDArray[np.float32]
    """(n,) its scores of benign rows on which it was not grown, rising."""
    cut: float
    """Rows that score above it pass."""
    share: float
    """Of those benign rows, that pass."""
    kept: float
    """Of what the detector alarms on at `JUDGED_RATE`, among left-out shots and rows made of them, that passes."""
    measured_on: int
    """How many such rows there were."""

    def read(self, X: Any) -> NDArray[np.float32]:
        """Rows as fit's X -> (n, d) float32 as `scores` takes them, NaN where missing.

        Raises:
            BadInputError: a column seen at fit is missing.
        """
        return np.ascontiguousarray(self.columns.read(to_frame(X, self.columns.names))[0], np.float32)

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, d) of `read` -> (n,) about the surprise that the detector would find, each row by itself."""
        rows = np.ascontiguousarray(rows, np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self.columns.cells):
            raise BadInputError("rows", f"are not (n, {len(self.columns.cells)}) numbers", "give what read() returns")
        return boosted_scores(rows, self.feature, self.threshold, self.value, self.base)

    def passes(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n,) which rows the detector should judge."""
        return np.asarray(scores > self.cut)

    def p_values(self, scores: NDArray[np.float32]) -> Floats:
        """(n,) conformal p-values by the screen alone; of a row that does not pass it is above `share`.

        With the detector's own p-values for what passes they keep every promised rate: below the share only rows that
        pass can alarm, of which the detector keeps its promise; above it the screen's ranks do.
        """
        at_least = len(self.benign) - np.searchsorted(self.benign, scores, side="left")
        return np.asarray((1.0 + at_least) / (len(self.benign) + 1.0))

    def surprises(self, scores: NDArray[np.float32]) -> Floats:
        """(n,) -ln of the screen's p-values: below -ln(`share`) of every row that does not pass."""
        return np.asarray(-np.log(self.p_values(scores)))


def distill(detector: Detector, rng: np.random.Generator, *, unknown: bool = False) -> Distilled:
    """Grow a screen on what `detector` says of benign rows, shots, and benign rows that were given columns of a shot.

    Its loss is measured with half of each threat's shots left out of the growing, then it is grown on all.

    Raises:
        BadInputError: nothing calibrates, or fewer than `LEAST_ROWS` benign rows are there to measure on.
    """
    calibration = detector.calibration(unknown=unknown)
    frame, surprise = detector.calibration_rows(unknown=unknown)
    if calibration is None or len(frame) < LEAST_ROWS:
        raise BadInputError(
            "reference", f"has {len(frame):,} rows to measure a screen on", f"give {LEAST_ROWS:,} or more"
        )
    order = rng.permutation(len(frame))
    grown, held = np.sort(order[: min(len(order) // 2, _MOST_BENIGN)]), np.sort(order[len(order) // 2 :])
    ceiling = float(calibration.benign[-1]) + 1.0
    benign = _Rows.of(detector, frame[grown], surprise[grown], ceiling)
    held_rows = _read(detector, frame[held])
    first, second = _crossed(detector, frame[grown], rng, unknown, ceiling)
    alarming = calibration.threshold(JUDGED_RATE)
    kept = np.zeros(len(SHARES))
    n_alarming = 0
    for shown, left_out in ((first, second), (second, first)):
        if not len(left_out.target):
            continue
        trial = _grow(benign.beside(shown), rng)
        cuts = np.quantile(trial.scores(held_rows), [1.0 - share for share in SHARES], method="higher")
        asked = left_out.surprise > alarming
        scores = trial.scores(left_out.rows[asked])
        kept += [(scores > cut).sum() for cut in cuts]
        n_alarming += int(asked.sum())
    kept = kept / n_alarming if n_alarming else np.ones(len(SHARES))
    at = int(np.argmax(kept >= KEPT_ENOUGH)) if (kept >= KEPT_ENOUGH).any() else len(SHARES) - 1
    trees = _grow(benign.beside(first).beside(second), rng)
    scores = np.sort(trial_scores := trees.scores(held_rows))
    cut = float(np.quantile(trial_scores, 1.0 - SHARES[at], method="higher"))
    return Distilled(
        detector.model.columns,
        trees.feature,
        trees.threshold,
        trees.value,
        trees.base,
        scores,
        cut,
        float((scores > cut).mean()),
        float(kept[at]),
        n_alarming,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows to grow on or to measure with, and what the detector says of them."""

    rows: NDArray[np.float32]
    surprise: Floats
    target: Floats
    """What is told: `surprise`, but never above the ceiling, for how far beyond all benign rows does not matter."""

    @classmethod
    def of(cls, detector: Detector, frame: pl.DataFrame, surprise: Floats, ceiling: float) -> _Rows:
        return cls(_read(detector, frame), surprise, np.minimum(surprise, ceiling))

    def beside(self, other: _Rows) -> _Rows:
        return _Rows(
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self.surprise, other.surprise]),
            np.concatenate([self.target, other.target]),
        )


@dataclass(frozen=True, slots=True)
class _Trees:
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    value: NDArray[np.float32]
    base: float

    def scores(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return boosted_scores(rows, self.feature, self.threshold, self.value, self.base)


def _read(detector: Detector, frame: pl.DataFrame) -> NDArray[np.float32]:
    return np.ascontiguousarray(detector.model.columns.read(frame)[0], np.float32)


def _crossed(
    detector: Detector, benign: pl.DataFrame, rng: np.random.Generator, unknown: bool, ceiling: float
) -> tuple[_Rows, _Rows]:
    """Shots and rows on the way to them, from every other shot of each threat and from the others.

    A threat's only shot is on both sides: what is made of it differs by the benign rows.
    """
    parts: list[_Rows] = []
    shots = [np.flatnonzero(detector.labels == t) for t in range(1, detector.model.n_threats + 1)]
    for side in (0, 1):
        mine = [of[side::2] if len(of) > 1 else of for of in shots]
        if not mine:
            none = benign[:0]
            parts.append(_Rows.of(detector, none, np.empty(0), ceiling))
            continue
        # As many of each threat, however many shots it has.
        drawn = np.concatenate([rng.choice(of, max(1, _CROSSED // len(mine))) for of in mine])
        crossed = _cross(detector.support[drawn], benign[rng.integers(len(benign), size=len(drawn))], rng)
        frame = pl.concat([crossed, detector.support[np.concatenate(mine)]])
        surprise = detector.judge(frame, unknown=unknown).surprises.max(1)
        parts.append(_Rows.of(detector, frame, surprise, ceiling))
    return parts[0], parts[1]


def _cross(shots: pl.DataFrame, benign: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Benign rows with a share of their columns, drawn for each row from none to all, from the shot beside it."""
    share = rng.uniform(size=len(shots))
    columns = []
    for name in shots.columns:
        taken = pl.Series(rng.uniform(size=len(shots)) < share)
        columns.append(shots[name].zip_with(taken, benign[name]).alias(name))
    return pl.DataFrame(columns)


def _grow(of: _Rows, rng: np.random.Generator) -> _Trees:
    """Boost small trees on `of`."""
    edges, n_edges = _edges(of.rows)
    useful = np.flatnonzero(n_edges)
    tried = min(_TRIED, len(useful))
    drawn = np.stack([rng.choice(useful, tried, replace=False) for _ in range(_TREES)]) if tried else None
    base = float(of.target.mean())
    if drawn is None:
        inner = (1 << _DEPTH) - 1
        nothing = np.zeros((0, inner), np.int32), np.zeros((0, inner), np.float32), np.zeros((0, inner + 1), np.float32)
        return _Trees(*nothing, base)
    bins = bin_rows(of.rows, edges, n_edges)
    return _Trees(*grow_boosted(bins, edges, n_edges, of.target - base, drawn, _DEPTH, _RATE, _MIN_LEAF), base)


def _edges(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(columns, most) values at which a column may be cut, rising, and how many of them are in use.

    Between distinct values where they are few, else at quantiles; below the least value too where some are missing.
    """
    width = rows.shape[1]
    edges, n_edges = np.zeros((width, _MOST_EDGES), np.float32), np.zeros(width, np.int64)
    for j in range(width):
        present = rows[~np.isnan(rows[:, j]), j]
        levels = np.unique(present)
        if not len(levels):
            continue
        if len(levels) >= _MOST_EDGES:
            levels = np.unique(np.quantile(present, np.linspace(0.0, 1.0, _MOST_EDGES), method="lower"))
        # Halfway, but never as far as the upper one: float32 has not a number between all neighbours.
        low, high = levels[:-1].astype(np.float64), levels[1:].astype(np.float64)
        between = ((low + high) / 2.0).astype(np.float32)
        found = np.where(between < levels[1:], between, levels[:-1])
        if len(present) < len(rows):
            found = np.concatenate([[np.nextafter(levels[0], np.float32(-np.inf))], found])
        found = np.unique(found[np.isfinite(found)])[:_MOST_EDGES]
        edges[j, : len(found)], n_edges[j] = found, len(found)
    return edges, n_edges
