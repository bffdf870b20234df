"""Judging a capture by its own traffic: cross-fitted, and robust to the attack being half of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.detector import LEAST_CALIBRATION_ROWS, MOST_CALIBRATION_ROWS, Judged
from kshot.detection.panel import MAX_REFERENCE, Panel, stack
from kshot.detection.screen import resembling

Judgement = tuple[Judged, tuple[Panel, ...], NDArray[np.intp], Literal["capture", "none"], float]
_ROUNDS = 3
"""Each round takes out what the last one unmasked: an attack hides its own less typical records."""
_DEEPEST_VALLEY = 0.3
"""Rows around the cut, for each row above it: more of them, and what lies above is a tail, not a group."""
_LEAST_GROUP = 5
_LOWEST_CUTS, _HIGHEST_CUT = (-2.0, -1.0), 4.0
"""Log-odds between which a group may begin: shots against a half of their own kind stand at 0.7, in broad leaves
lower. Where the first of the lowest cuts leaves less than `_LEAST_LEFT`, it took another service or transport than the
rest for the attack, and the second is tried."""
_LEAST_LEFT = 0.25


def judge_by_itself(
    threats: Mapping[str, pl.DataFrame], queries: pl.DataFrame, *, unknown: bool, rng: np.random.Generator
) -> Judgement:
    """Judge every query by a model fitted and calibrated on the half of the queries that it is not in."""
    n = len(queries)
    if n < 2 * LEAST_CALIBRATION_ROWS:
        return _rank_only(threats, queries, unknown=unknown, rng=rng)
    halves = np.array_split(rng.permutation(n), 2)
    panels, outcomes = [], []
    for mine, others in ((halves[0], halves[1]), (halves[1], halves[0])):
        clean = _clean(threats, queries[np.sort(others[: MAX_REFERENCE + MOST_CALIBRATION_ROWS // 2])], rng)
        if len(clean) < LEAST_CALIBRATION_ROWS:
            return _rank_only(threats, queries, unknown=unknown, rng=rng)
        panel = Panel.fit(threats, clean, queries.columns, rng)
        panels.append(panel)
        outcomes.append(panel.judge(queries[mine], unknown=unknown))
    order = np.argsort(np.concatenate(halves))
    joined = Judged(
        *(
            np.concatenate([getattr(o, part) for o in outcomes])[order]
            for part in ("scores", "unusual", "surprises", "best", "likeness", "p_values")
        )
    )
    panel_of = np.repeat([0, 1], [len(h) for h in halves])[order]
    attainable = max(p.attainable(unknown=unknown) for p in panels)
    return joined, tuple(panels), panel_of, "capture", attainable


def _rank_only(
    threats: Mapping[str, pl.DataFrame], queries: pl.DataFrame, *, unknown: bool, rng: np.random.Generator
) -> Judgement:
    """Too little is left to calibrate on: order the queries by what sets them apart from the rest of them."""
    panel = Panel.fit(threats, queries, queries.columns, rng)
    judged = panel.judge(queries, unknown=unknown)
    silent = replace(judged, p_values=np.full(len(queries), np.nan))
    return silent, (panel,), np.zeros(len(queries), np.intp), "none", float("nan")


def _clean(threats: Mapping[str, pl.DataFrame], rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Rows without those that form a group around the shots, judged by trees that did not see them."""
    if not threats:
        return rows
    for _ in range(_ROUNDS):
        chosen = np.sort(rng.permutation(len(rows))[:MAX_REFERENCE])
        support, labels = stack(threats, rows[chosen], rows.columns)
        held_out, resemblance = resembling(support, labels, rng)
        likeness = resemblance(rows)
        likeness[chosen] = held_out
        for lowest in _LOWEST_CUTS:
            clean = (likeness < np.array([_valley(column, lowest) for column in likeness.T])).all(1)
            if clean.mean() >= _LEAST_LEFT:
                break
        if clean.all():
            break
        rows = rows.filter(pl.Series(clean))
        if len(rows) < LEAST_CALIBRATION_ROWS:
            break
    return rows


def _valley(log_odds: NDArray[np.float64], lowest: float) -> float:
    """Where, from `lowest` on, a group of attack-like rows parts from the rest; infinite where there is no such group.

    Benign rows thin out towards the shots: around any cut there are more of them than above it. A hidden attack
    stands above with hardly a row around the cut.
    """
    best, at = _DEEPEST_VALLEY, np.inf
    for cut in np.arange(lowest, _HIGHEST_CUT + 0.01, 0.25):
        above = int((log_odds >= cut + 0.5).sum())
        around = int(((log_odds >= cut - 0.5) & (log_odds < cut + 0.5)).sum())
        if above >= _LEAST_GROUP and (around + 1) / above < best:
            best, at = (around + 1) / above, float(cut)
    return at
