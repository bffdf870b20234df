"""Judging a capture by its own traffic: cross-fitted, and robust to the attack being half of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.detector import LEAST_CALIBRATION_ROWS, MOST_CALIBRATION_ROWS, Judged
from kshot.detection.model import Model
from kshot.detection.panel import MAX_REFERENCE, Panel, stack

Judgement = tuple[Judged, tuple[Panel, ...], NDArray[np.intp], Literal["capture", "none"], float]
_ROUNDS = 2
_SCREEN_TREES = 100
_AS_LIKELY = 0.0
"""Log-odds of threat against benign, both weighing the same, from which a row counts as resembling the shots.

With a share p of the attack in the reference and benign rows unlike it, an attack row's odds are 1 : p, so that it
is found out whatever p is; a benign row's are near 0.
"""


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
            for part in ("scores", "unusual", "surprises", "p_values")
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
    silent = Judged(judged.scores, judged.unusual, judged.surprises, np.full(len(queries), np.nan))
    return silent, (panel,), np.zeros(len(queries), np.intp), "none", float("nan")


def _clean(threats: Mapping[str, pl.DataFrame], rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Rows that do not resemble the shots, judged by trees that did not see them; twice, as the first pass unmasks."""
    if not threats:
        return rows
    for _ in range(_ROUNDS):
        chosen = np.sort(rng.permutation(len(rows))[:MAX_REFERENCE])
        support, labels = stack(threats, rows[chosen], rows.columns)
        model = Model(support, labels, rng, n_trees=_SCREEN_TREES)
        resembling = model.resemblance(rows) > _AS_LIKELY
        resembling[chosen] = model.resemblance_held_out > _AS_LIKELY
        rows = rows.filter(pl.Series(~resembling))
        if not resembling.any() or len(rows) < LEAST_CALIBRATION_ROWS:
            break
    return rows
