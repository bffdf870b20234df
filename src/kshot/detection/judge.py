"""Threats over queries: alarm p-values against a given reference, or against the queries' own traffic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.detector import Detector
from kshot.detection.explain import Explanation
from kshot.detection.frames import BadInputError
from kshot.detection.panel import MAX_REFERENCE, N_TREES, Panel
from kshot.detection.self_reference import Judgement, Witness, judge_by_itself

Floats = NDArray[np.float64]
UNKNOWN = "unknown"
Fitted = tuple[Detector, Floats]
"""A detector, and what was measured with it."""
Keep = Callable[[Mapping[str, pl.DataFrame], tuple[int, ...], Callable[[], Fitted]], Fitted]
"""Asked for what is learned from these frames with these settings: what it does not know it has fitted."""


@dataclass(frozen=True)
class Verdicts:
    """n queries, judged."""

    threat: list[str]
    """The threat that each is most like, or "unknown"."""
    score: Floats
    """(n,) surprise, -ln of the benign share that scores as high, continued beyond the reference; ranks all queries."""
    p_value: Floats
    """(n,) alarm p-value over all threats and "unknown" together; nan where nothing calibrates."""
    calibrated: Literal["site", "capture", "none"]
    """What the p-values were measured on: a reference that was given, the queries' own traffic, or nothing."""
    attainable: float
    """The least false-alarm rate that can be promised; nan where nothing calibrates."""
    kept_out: float
    """Share of the records that were taken for an attack and kept out of what calibrates; 0 with a reference."""
    _queries: pl.DataFrame
    _panels: tuple[Panel, ...]
    _panel_of: NDArray[np.intp]
    """(n,) which panel explains each row."""
    _unknown: bool = False

    @property
    def kept_by_screen(self) -> float:
        """Of what would alarm at 1 %, the share that the screens let pass, as measured; 1 without them."""
        return min((screen.kept for panel in self._panels for screen in panel.screens.values() if screen), default=1.0)

    def alarms(self, false_alarm_rate: float) -> NDArray[np.bool_]:
        """(n,) which queries raise an alert; at the attainable rate where that is greater. None without p-values."""
        if self.calibrated == "none":
            return np.zeros(len(self.score), bool)
        return np.asarray(self.p_value <= max(false_alarm_rate, self.attainable) * (1.0 + 1e-12))

    def case(self, row: int, false_alarm_rate: float | None = None, top: int = 3) -> Explanation:
        """Everything about query `row`; with a rate also what would have to change for it not to alarm."""
        panel = self._panels[int(self._panel_of[row])]
        rate = None if self.calibrated == "none" else false_alarm_rate
        return panel.case(self._queries[row : row + 1], top=top, unknown=self._unknown, rate=rate)

    def explain(self, rows: Sequence[int], top: int = 3) -> list[list[str]]:
        """For each of `rows` (indices of queries) the `top` loudest reasons, one line each."""
        at = np.asarray(rows, dtype=np.intp)
        out: list[list[str]] = [[] for _ in at]
        for number, panel in enumerate(self._panels):
            mine = np.flatnonzero(self._panel_of[at] == number)
            if len(mine):
                names = [self.threat[i] for i in at[mine]]
                for place, lines in zip(mine, panel.explain(self._queries[at[mine]], names, top), strict=True):
                    out[place] = lines
        return out


def judge(
    threats: Mapping[str, pl.DataFrame],
    queries: pl.DataFrame,
    *,
    reference: pl.DataFrame | None,
    unknown: bool = False,
    random_state: int = 0,
    witness: Witness | None = None,
    screen: bool = False,
    keep: Keep | None = None,
) -> Verdicts:
    """Judge `queries` for the `threats` (name -> shots) against `reference`, or without one against themselves.

    Columns that threats, queries and reference do not share are left out. Without a reference no record is judged
    by a model that has seen it, and records that form a group like the shots neither enter the reference nor
    calibrate; `witness` says what else is known of rows of the queries, and must agree. With `screen` distilled trees
    look first, and what they do not let pass is not judged: faster, and it loses some (detection/distill.py). `keep`
    may know what was learned from that reference before; a screen needs more than it keeps.

    Raises:
        BadInputError: nothing to look for, an empty reference, or no column in common.
    """
    if not threats and not unknown:
        raise BadInputError("threats", "there is none to look for", "name one, or ask for unknown ones")
    if reference is not None and not len(reference):
        raise BadInputError("reference", "has no rows", "give records of normal life, or none at all")
    rng = np.random.default_rng(random_state)
    if not len(queries):
        return Verdicts([], np.empty(0), np.empty(0), "none", float("nan"), 0.0, queries, (), np.empty(0, np.intp))
    if reference is None:
        return _verdicts(
            unknown,
            threats,
            judge_by_itself(threats, queries, unknown=unknown, rng=rng, witness=witness, screen=screen),
            queries,
        )
    if keep is None or screen:
        panel = Panel.fit(threats, reference, queries.columns, rng)
    else:
        panel = _kept(threats, reference, queries.columns, random_state, keep)
    if screen:
        panel.distill(rng, unknown=unknown)
    judged = panel.judge(queries, unknown=unknown)
    calibrated: Literal["site", "none"] = "none" if np.isnan(judged.p_values).all() else "site"
    one = np.zeros(len(queries), np.intp)
    attainable = panel.attainable(unknown=unknown)
    return _verdicts(unknown, threats, Judgement(judged, (panel,), one, calibrated, attainable, 0.0), queries)


def _kept(
    threats: Mapping[str, pl.DataFrame], reference: pl.DataFrame, columns: Sequence[str], random_state: int, keep: Keep
) -> Panel:
    """The panel that `Panel.fit` makes, now or before."""

    def fit() -> Fitted:
        detector = Panel.fit(threats, reference, columns, np.random.default_rng(random_state)).detector
        detector.calibration(unknown=False)
        return detector, np.empty(0)

    learned_from = {**threats, "": reference.select(name for name in columns if name in reference.columns)}
    detector, _ = keep(learned_from, (random_state, N_TREES, MAX_REFERENCE), fit)
    return Panel([*threats], detector)


def _verdicts(unknown: bool, threats: Mapping[str, pl.DataFrame], by: Judgement, queries: pl.DataFrame) -> Verdicts:
    labels = np.array([*threats, UNKNOWN], dtype=object)
    # With no threats the single column of surprises is that of "unknown", which is then also the first label.
    threat = [str(t) for t in labels[by.judged.best]]
    return Verdicts(
        threat,
        by.judged.surprises.max(1),
        by.judged.p_values,
        by.calibrated,
        by.attainable,
        by.kept_out,
        queries,
        by.panels,
        by.panel_of,
        unknown,
    )
