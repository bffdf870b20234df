"""Why a row scored as it did: the columns that speak loudest, in words a person can check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.columns import Cell, Columns
from kshot.detection.counterfactual import Counterfactual
from kshot.detection.detector import Detector
from kshot.detection.reference import ReferenceScale

Floats = NDArray[np.float64]
_UNITS = ("bytes", "packets", "seconds", "bits")
_CHUNK_ROWS = 5_000
_LEAST_APART = 0.25
"""Spreads by rank, below which two values are as good as equal."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One column's part in a verdict."""

    column: str
    """Input column, or what was made from it ("url entropy", "service = dns")."""
    value: float
    """The row's; nan where missing."""
    percentile: float
    """Share of the reference below the value, ties counted half, in percent."""
    as_the_shots: bool
    """Whether the threat's shots lie on the same side of the reference, at least half as far out."""
    loudness: float
    """-ln of the share of the reference at least as far out on that side, or of the shots' where theirs is less."""
    text: str
    """The same in one line."""
    robust_z: float
    """(value - median) / (interquartile range / 1.349) of the reference; nan where missing or no number."""
    beyond: float
    """Share of the reference at least as far out on that side; nan where missing."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A column in which a row and another differ."""

    column: str
    value: Any
    """The row's; None where missing."""
    other: Any
    apart: float
    """How far apart, in spreads of the reference by rank (from 0 to 6)."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one row scored as it did."""

    threat: Any
    """The label it is most like, or "unknown" where nothing was taught."""
    reasons: list[Reason]
    """Loudest first."""
    nearest_shots: list[int]
    """Rows of fit's X: the threat's shots most like it, nearest first."""
    nearest_benign: list[int]
    """Rows of fit's X: the reference rows most like it, nearest first."""
    differences: dict[int, list[Difference]]
    """Of each of these rows, where it differs from this one, the most first."""
    p_value: float
    """The chance that a benign row looks so bad; nan where nothing calibrates."""
    measured_on: int
    """Benign rows that the p-value was measured on."""
    counterfactual: Counterfactual | None = None
    """What would have to change for it not to alarm, if asked for; `benign_row` is a row of fit's X. None also where
    every near benign row alarms itself."""


def differences(detector: Detector, row: pl.DataFrame, others: pl.DataFrame, top: int) -> list[list[Difference]]:
    """In which `top` columns each of the `others` differs most from `row` (one row), in rank-Gauss space."""
    model = detector.model
    mine, theirs = (model.scale.cells(model.columns.read(frame)[0]).gauss for frame in (row, others))
    out: list[list[Difference]] = []
    for i, apart in enumerate(np.abs(theirs - mine)):
        of_column: dict[str, float] = {}
        for cell, distance in zip(model.columns.cells, apart, strict=True):
            of_column[cell.source] = max(of_column.get(cell.source, 0.0), float(distance))
        order = sorted(of_column, key=lambda name: -of_column[name])
        told = [name for name in order if of_column[name] > _LEAST_APART][:top]
        out.append([Difference(name, row[name][0], others[name][i], of_column[name]) for name in told])
    return out


class Explainer:
    """Reads rows in the terms of one fitted model."""

    def __init__(
        self, columns: Columns, scale: ReferenceScale, support: pl.DataFrame, labels: NDArray[np.intp]
    ) -> None:
        self._columns = columns
        self._scale = scale
        shots = labels > 0
        values, _ = columns.read(support.filter(pl.Series(shots)))
        surprise, side = self._surprise(values)
        threats = labels[shots]
        self._of_threat = {
            int(t): (np.median(surprise[threats == t], 0), np.sign(np.median(side[threats == t], 0)))
            for t in np.unique(threats)
        }

    def reasons(self, rows: pl.DataFrame, threats: NDArray[np.intp], top: int) -> list[list[Reason]]:
        """Return the `top` loudest columns of each row, for threat `threats[i]` (from 1), or 0 for "unknown"."""
        out: list[list[Reason]] = []
        # Floods and scans repeat the same few values: what was said of one is said again.
        said: dict[tuple[int, float | None, bool], tuple[float, str, float, float]] = {}
        for start in range(0, len(rows), _CHUNK_ROWS):
            values, _ = self._columns.read(rows[start : start + _CHUNK_ROWS])
            same, loudness = self._loudness(values, threats[start : start + _CHUNK_ROWS])
            order = np.argsort(-loudness, axis=1, kind="stable")
            out += [self._row(values[i], same[i], loudness[i], order[i], top, said) for i in range(len(values))]
        return out

    def _loudness(self, values: Floats, threats: NDArray[np.intp]) -> tuple[NDArray[np.bool_], Floats]:
        """(n, cells) whether each is out on the side of its threat's shots, and how much it has to say."""
        surprise, side = self._surprise(values)
        same, loudness = np.zeros(values.shape, bool), surprise.copy()
        for threat, (of_shots, side_of_shots) in self._of_threat.items():
            mine = np.flatnonzero(threats == threat)
            out = surprise[mine]
            same[mine] = (side[mine] == side_of_shots) & (of_shots >= 0.5 * out) & (of_shots > 0.3)
            loudness[mine] = np.where(same[mine], np.minimum(out, of_shots), 0.1 * out)
        return same, loudness

    def _row(
        self,
        values: Floats,
        same: NDArray[np.bool_],
        loudness: Floats,
        order: NDArray[np.intp],
        top: int,
        said: dict[tuple[int, float | None, bool], tuple[float, str, float, float]],
    ) -> list[Reason]:
        out: list[Reason] = []
        sources: set[str] = set()
        for j in map(int, order):
            if len(out) == top:
                break
            cell = self._columns.cells[j]
            if cell.source in sources and cell.role in ("level", "rarity", "missing"):
                continue
            sources.add(cell.source)
            value, as_the_shots = float(values[j]), bool(same[j])
            key = (j, None if value != value else value, as_the_shots)
            if key not in said:
                text = self._text(j, cell, value, as_the_shots)
                said[key] = self._scale.percentile(j, value), text, *self._how_far(j, cell, value)
            percentile, text, robust_z, beyond = said[key]
            out.append(Reason(cell.name, value, percentile, as_the_shots, float(loudness[j]), text, robust_z, beyond))
        return out

    def _how_far(self, column: int, cell: Cell, value: float) -> tuple[float, float]:
        """Robust z-score, and the share of the reference at least as far out."""
        below, tied, above = self._scale.shares(column, value)
        is_number = cell.role in ("number", "statistic")
        robust_z = (value - self._scale.median[column]) / self._scale.scale[column] if is_number else float("nan")
        return float(robust_z), min(below, above) + tied

    def _text(self, column: int, cell: Cell, value: float, same: bool) -> str:
        ending = ", as the shots" if same else ""
        below, tied, above = self._scale.shares(column, value)
        if cell.role in ("level", "missing"):
            holds = cell.name if value else cell.name.replace(" = ", " is not ").replace(" is missing", " is present")
            return f"{holds}: as {_percent(tied)} of the reference{ending}"
        shown = f"{cell.name} {_number(value)}{_unit(cell)}"
        if np.isnan(value):
            return f"{cell.name} is missing{ending}"
        if tied > max(below, above):
            return f"{shown}: as {_percent(tied)} of the reference{ending}"
        if below >= above:
            return f"{shown}: above {_percent(below)} of the reference{ending}"
        return f"{shown}: below {_percent(above)} of the reference{ending}"

    def _surprise(self, values: Floats) -> tuple[Floats, Floats]:
        """(n, cells) -> (-ln share of the reference at least as far out on the nearer side, that side: -1 or 1)."""
        surprise, side = np.zeros_like(values), np.zeros_like(values)
        for j in range(values.shape[1]):
            surprise[:, j], side[:, j] = self._scale.surprise(j, values[:, j])
        return surprise, side


def _percent(share: float) -> str:
    percent = 100.0 * share
    if percent in (0.0, 100.0):
        return "all" if percent else "none"
    return f"{min(percent, 99.9):.1f} %" if percent >= 1.0 else f"{percent:.2g} %"


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) < 1e6 else f"{value:.4g}"


def _unit(cell: Cell) -> str:
    if cell.role == "statistic":
        return " bits" if cell.name.endswith("entropy") else ""
    unit = cell.source.rsplit("_", 1)[-1]
    return f" {unit}" if unit in _UNITS and cell.role == "number" else ""
