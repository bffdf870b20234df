"""One row's whole case: what speaks, what it is like, how sure that is, what would have to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from kshot.detection.counterfactual import Alarms, find_counterfactual
from kshot.detection.detector import Detector
from kshot.detection.explain import Explainer, Explanation, differences

_DONORS = 5
"""Nearest benign rows that a counterfactual may take its values from."""


def explain_rows(
    detector: Detector,
    explainer: Explainer,
    frame: pl.DataFrame,
    names: Sequence[Any],
    *,
    top: int,
    unknown: bool = False,
    alarms: Alarms | None = None,
) -> list[Explanation]:
    """Explain every row of `frame` as the one of `names` that it is most like; with `alarms` also what must change.

    Rows are found among those that the detector was fitted on, and told as rows of fit's X.
    """
    judged = detector.judge(frame, unknown=unknown)
    best = judged.best + 1 if names else np.zeros(len(frame), np.intp)
    best = np.where(best > len(names), 0, best)
    calibration = detector.calibration(unknown=unknown)
    measured_on = len(calibration.benign) if calibration is not None else 0
    reasons = explainer.reasons(frame, best, top)
    shots, benign = detector.nearest(frame, best, max(top, _DONORS))
    place = {int(row): at for at, row in enumerate(detector.rows)}
    out: list[Explanation] = []
    for i, told in enumerate(reasons):
        row = frame[i : i + 1]
        changes = None
        if alarms is not None:
            donors = detector.support[[place[n] for n in benign[i][:_DONORS]]].select(frame.columns)
            changes = find_counterfactual(row, donors, alarms)
            if changes is not None and changes.changes:
                changes = replace(changes, benign_row=benign[i][changes.benign_row])
        near = [*shots[i][:top], *benign[i][:top]]
        apart = differences(detector, row, detector.support[[place[n] for n in near]], top)
        out.append(
            Explanation(
                names[best[i] - 1] if best[i] else "unknown",
                told,
                shots[i][:top],
                benign[i][:top],
                dict(zip(near, apart, strict=True)),
                float(judged.p_values[i]),
                measured_on,
                changes,
            )
        )
    return out
