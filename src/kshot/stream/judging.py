"""Judge one set of records for all threats that fit it, and join what the groups of threats say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection import Evidence, Explanation, Keep, Witness, judge
from kshot.features import settle
from kshot.intel import is_of_kind
from kshot.records.threats import Threat
from kshot.stream.laboratory import Laboratory

UNKNOWN = "unknown"
"""The name of what is like no threat and unlike the reference."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict a record, over all threats."""

    threat: NDArray[np.object_]
    """(n,) the threat that speaks loudest for each record, or "unknown"."""
    score: NDArray[np.float64]
    """(n,) higher is more like it."""
    p_value: NDArray[np.float64]
    """(n,) the chance that a benign record looks so much like any threat; nan where nothing calibrates."""
    calibrated: str
    """"site", "capture" or "none"."""
    attainable: float
    """The least false-alarm rate that the reference can promise; nan without calibration."""
    kept_out: float
    """Share of the records that were taken for an attack and kept out of what calibrates, at most of all groups."""
    explain: Callable[[Sequence[int]], list[list[str]]]
    """Rows -> the three features that speak loudest for each."""
    case: Callable[[int, float | None], Explanation]
    """A row, and the rate at which it alarmed -> everything about it."""
    kept_by_screen: float = 1.0
    """Of what would alarm at 1 %, the share that a screen, where there is one, let pass when it was measured."""

    def alarms(self, false_alarm_rate: float) -> NDArray[np.bool_]:
        """(n,) whether each record alarms at that rate."""
        return np.nan_to_num(self.p_value, nan=2.0) <= false_alarm_rate * (1.0 + 1e-12)


def judge_all(
    groups: Sequence[Sequence[Threat]],
    queries: pl.DataFrame,
    reference: pl.DataFrame | None,
    *,
    unknown: bool,
    random_state: int,
    laboratory: Laboratory | None = None,
    screen: bool = False,
    keep: Keep | None = None,
) -> Judgement:
    """Judge each group of threats (same columns within a group) and keep each record's loudest verdict.

    A false-alarm rate is promised over everything together, so with g groups each p-value counts g times (Bonferroni).
    "unknown" is asked of the first group only: it is one question, and that group has the most threats.
    Without a reference `laboratory` and what was never seen among the shots tell which records may be the attack.
    With one `keep` may know what was learned from it before.
    """
    ordered = sorted(groups, key=len, reverse=True) or [[]]
    told = []
    for number, group in enumerate(ordered):
        columns = group[0].shots.columns if group else queries.columns
        asked = _like(group, queries, columns)
        witness = _witness(group, asked, laboratory, random_state) if reference is None else None
        benign = asked if reference is None else _like(group, reference, columns)
        told.append(
            judge(
                {threat.name: settle(threat.shots, benign) for threat in group},
                settle(asked, benign),
                reference=None if reference is None else settle(benign, benign),
                unknown=unknown and number == 0,
                random_state=random_state,
                witness=witness,
                screen=screen,
                keep=keep,
            )
        )
    p_values = np.stack([np.asarray(verdicts.p_value, dtype=np.float64) for verdicts in told])
    scores = np.stack([np.asarray(verdicts.score, dtype=np.float64) for verdicts in told])
    # The loudest: the least p-value; by score where there is none or where they tie.
    order = np.lexsort((-scores, np.nan_to_num(p_values, nan=2.0)), axis=0)[0]
    at = (order, np.arange(queries.height))
    names = np.stack([np.asarray(verdicts.threat, dtype=object) for verdicts in told])

    def explain(rows: Sequence[int]) -> list[list[str]]:
        reasons: dict[int, list[str]] = {}
        for number, verdicts in enumerate(told):
            mine = [row for row in rows if order[row] == number]
            if mine:
                reasons.update(zip(mine, verdicts.explain(mine, top=3), strict=True))
        return [reasons[row] for row in rows]

    def case(row: int, rate: float | None) -> Explanation:
        return told[int(order[row])].case(row, None if rate is None else rate / len(told))

    return Judgement(
        threat=names[at],
        score=scores[at],
        p_value=np.minimum(p_values[at] * len(told), 1.0),
        calibrated=str(told[0].calibrated),
        attainable=float(max(verdicts.attainable for verdicts in told)) * len(told),
        kept_out=max(verdicts.kept_out for verdicts in told),
        explain=explain,
        case=case,
        kept_by_screen=min(verdicts.kept_by_screen for verdicts in told),
    )


def _witness(
    group: Sequence[Threat], queries: pl.DataFrame, laboratory: Laboratory | None, random_state: int
) -> Witness | None:
    """What else is known of flows; nothing of rows of a table, whose flags and categories may mean anything."""
    if not group or any(threat.kind != "flow" for threat in group):
        return None

    def witness(rows: NDArray[np.intp]) -> Evidence:
        asked = queries[rows]
        settled = settle(asked, queries)
        of_kind = np.stack([is_of_kind(settle(threat.shots, queries), settled) for threat in group], 1)
        elsewhere = None if laboratory is None else laboratory.sighting(asked, group, random_state).p_value
        return Evidence(of_kind, elsewhere)

    return witness


def _like(group: Sequence[Threat], frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The columns of the group's shots, in their types."""
    if not group:
        return frame.select(columns)
    return frame.select(pl.col(name).cast(dtype, strict=False) for name, dtype in group[0].shots.schema.items())
