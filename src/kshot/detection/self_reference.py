"""Judging a capture by its own traffic: cross-fitted, without what is the attack as far as evidence goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.detector import LEAST_CALIBRATION_ROWS, MOST_CALIBRATION_ROWS, Judged
from kshot.detection.panel import MAX_REFERENCE, Panel, stack
from kshot.detection.screen import DENSE, SPARSE, Screen

_DEEPEST_VALLEY = 0.3
"""Rows around the cut, for each row above it: more of them, and what lies above is a tail, not a group."""
_LEAST_GROUP = 5
_HIGHEST_CUT = 4.0
_SPARSE_CUT, _DENSE_CUT = -1.0, -2.0
"""Log-odds from which on a group may begin: shots against a half of their own kind stand at 0.7, in broad leaves lower.
"""
_DENSE_SHARE = 0.2
"""Of the rows, that the group of the broad screen must be."""
_HARDLY_ANY = 2e-4
"""Of another place's benign rows, that are as much like a threat: with a few thousand of them, none."""
_FEW, _MORE_THAN_CHANCE = 1e-3, 0.02
"""Rows that only so few of another place's benign rows equal, if they are more than the second share of all, are no
chance: they need not stand apart from each other, which an attack of many rows does not."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of n rows beside their likeness to the shots, which benign services share."""

    of_kind: NDArray[np.bool_]
    """(n, T) which rows may be of each threat at all."""
    elsewhere: NDArray[np.float64] | None = None
    """(n,) share of another place's benign rows that look as much like a threat; None where no place is known."""


Witness = Callable[[NDArray[np.intp]], Evidence]
"""Rows of the queries -> what is known of them."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every query judged by one of `panels`."""

    judged: Judged
    panels: tuple[Panel, ...]
    panel_of: NDArray[np.intp]
    """(n,) which panel judged each row."""
    calibrated: Literal["site", "capture", "none"]
    attainable: float
    kept_out: float
    """Share of the rows that might have calibrated and were taken for the attack; 0 where nothing calibrates."""


def judge_by_itself(
    threats: Mapping[str, pl.DataFrame],
    queries: pl.DataFrame,
    *,
    unknown: bool,
    rng: np.random.Generator,
    witness: Witness | None = None,
    screen: bool = False,
) -> Judgement:
    """Judge every query by a model fitted and calibrated on the half of the queries that it is not in."""
    n = len(queries)
    if n < 2 * LEAST_CALIBRATION_ROWS:
        return _rank_only(threats, queries, unknown=unknown, rng=rng)
    halves = np.array_split(rng.permutation(n), 2)
    pool = np.sort(np.concatenate([half[: MAX_REFERENCE + MOST_CALIBRATION_ROWS // 2] for half in halves]))
    taken = np.zeros(n, bool)
    taken[pool] = _suspects(threats, queries, pool, rng, witness)
    in_pool = np.zeros(n, bool)
    in_pool[pool] = True
    panels, outcomes = [], []
    for mine, others in ((halves[0], halves[1]), (halves[1], halves[0])):
        clean = np.sort(others[in_pool[others] & ~taken[others]])
        if len(clean) < LEAST_CALIBRATION_ROWS:
            return _rank_only(threats, queries, unknown=unknown, rng=rng)
        panel = Panel.fit(threats, queries[clean], queries.columns, rng)
        if screen:
            panel.distill(rng, unknown=unknown)
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
    return Judgement(joined, tuple(panels), panel_of, "capture", attainable, float(taken[pool].mean()))


def _rank_only(
    threats: Mapping[str, pl.DataFrame], queries: pl.DataFrame, *, unknown: bool, rng: np.random.Generator
) -> Judgement:
    """Too little is left to calibrate on: order the queries by what sets them apart from the rest of them."""
    panel = Panel.fit(threats, queries, queries.columns, rng)
    judged = panel.judge(queries, unknown=unknown)
    silent = replace(judged, p_values=np.full(len(queries), np.nan))
    return Judgement(silent, (panel,), np.zeros(len(queries), np.intp), "none", float("nan"), 0.0)


def _suspects(
    threats: Mapping[str, pl.DataFrame],
    queries: pl.DataFrame,
    pool: NDArray[np.intp],
    rng: np.random.Generator,
    witness: Witness | None,
) -> NDArray[np.bool_]:
    """Which of the rows `pool` are kept out of the reference."""
    if not threats:
        return np.zeros(len(pool), bool)
    evidence = Evidence(np.ones((len(pool), len(threats)), bool)) if witness is None else witness(pool)
    return np.asarray(suspects(threats, queries[pool], rng, evidence).any(1))


def suspects(
    threats: Mapping[str, pl.DataFrame], rows: pl.DataFrame, rng: np.random.Generator, evidence: Evidence
) -> NDArray[np.bool_]:
    """(n, T) which rows are taken for which of T >= 1 threats: what stands apart, towards the shots, from its own kind.

    Where another place's benign rows are known, only rows that hardly any of those equals; and where few of them equal
    more rows than chance explains, all such rows. Else also what stands apart and is a good part of the rows.
    """
    may = evidence.of_kind
    if evidence.elsewhere is not None:
        may = may & (evidence.elsewhere <= _HARDLY_ANY)[:, None]
    support, labels = stack(threats, rows, rows.columns)

    def groups(screen: Screen, lowest: float) -> NDArray[np.bool_]:
        log_odds = screen.log_odds(support, labels, rng)
        cuts = [_valley(column[mine], lowest) for column, mine in zip(log_odds.T, may.T, strict=True)]
        return np.asarray(may & (log_odds >= np.array(cuts)))

    taken = groups(SPARSE, _SPARSE_CUT)
    if evidence.elsewhere is None:
        dense = groups(DENSE, _DENSE_CUT)
        return np.asarray(taken | (dense & (dense.mean(0) >= _DENSE_SHARE)))
    suspect = evidence.elsewhere <= _FEW
    return np.asarray(taken | suspect[:, None] if suspect.mean() >= _MORE_THAN_CHANCE else taken)


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
