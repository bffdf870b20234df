"""Judge one set of records for all threats that fit it, and join what the groups of threats say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection import judge
from kshot.features import settle
from kshot.records.threats import Threat

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
    explain: Callable[[Sequence[int]], list[list[str]]]
    """Rows -> the three features that speak loudest for each."""

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
) -> Judgement:
    """Judge each group of threats (same columns within a group) and keep each record's loudest verdict.

    A false-alarm rate is promised over everything together, so with g groups each p-value counts g times (Bonferroni).
    "unknown" is asked of the first group only: it is one question, and that group has the most threats.
    """
    ordered = sorted(groups, key=len, reverse=True) or [[]]
    told = []
    for number, group in enumerate(ordered):
        columns = group[0].shots.columns if group else queries.columns
        asked = _like(group, queries, columns)
        benign = asked if reference is None else _like(group, reference, columns)
        told.append(
            judge(
                {threat.name: settle(threat.shots, benign) for threat in group},
                settle(asked, benign),
                reference=None if reference is None else settle(benign, benign),
                unknown=unknown and number == 0,
                random_state=random_state,
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

    return Judgement(
        threat=names[at],
        score=scores[at],
        p_value=np.minimum(p_values[at] * len(told), 1.0),
        calibrated=str(told[0].calibrated),
        attainable=float(max(verdicts.attainable for verdicts in told)) * len(told),
        explain=explain,
    )


def _like(group: Sequence[Threat], frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The columns of the group's shots, in their types."""
    if not group:
        return frame.select(columns)
    return frame.select(pl.col(name).cast(dtype, strict=False) for name, dtype in group[0].shots.schema.items())
