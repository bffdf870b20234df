"""The features behind an alert: its loudest record beside the nearest shots and benign ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.columns import Columns
from kshot.detection.explain import Explainer, Reason
from kshot.detection.panel import stack
from kshot.detection.reference import ReferenceScale
from kshot.features import FEATURE_COLUMNS, settle
from kshot.records.threats import Threat
from kshot.report.contents import YES_OR_NO, Evidence, Feature

_REFERENCE_ROWS = 3_000
"""More would move no percentile by what an eye can see."""
_FEATURES = 8
_SHOTS, _BENIGN = 5, 3
_MEANINGS = {column.name: (column.meaning, column.unit) for column in FEATURE_COLUMNS}


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A record to be explained, as people know it."""

    parties: str
    first_time: datetime | None
    facts: tuple[tuple[str, str], ...] = ()
    """What, and its value."""


def gather_evidence(
    threats: Sequence[Threat],
    rows: pl.DataFrame,
    reference: pl.DataFrame,
    exhibits: Sequence[Exhibit],
    *,
    random_state: int = 0,
) -> list[Evidence]:
    """Say of each row what sets it apart from the reference as it does the shots of its threat.

    Parameters:
        threats: (n) what each row alarmed as; no two the same.
        rows: (n) records.
        reference: benign records, the same columns.
        exhibits: (n) the same records, for people.
    """
    generator = np.random.default_rng(random_state)
    sample = reference[np.sort(generator.permutation(reference.height)[:_REFERENCE_ROWS])]
    # The same cells and the same scale as the detector reads; no learner is asked here.
    shots = {threat.name: settle(threat.shots, sample) for threat in threats}
    support, labels = stack(shots, settle(sample, sample), rows.columns)
    features = _Desk(support, labels).features(settle(rows, sample).select(support.columns))
    return [
        Evidence(
            threat.name,
            exhibit.parties,
            exhibit.first_time,
            threat.description,
            told,
            threat.shots.height,
            sample.height,
            exhibit.facts,
        )
        for threat, exhibit, told in zip(threats, exhibits, features, strict=True)
    ]


class _Desk:
    """Reference and the shots of each threat laid out for comparison."""

    def __init__(self, support: pl.DataFrame, labels: NDArray[np.intp]) -> None:
        self.labels = labels
        self.columns = Columns.learn(support, labels == 0)
        self.values, _ = self.columns.read(support)
        self.scale = ReferenceScale(self.values[labels == 0])
        self.explainer = Explainer(self.columns, self.scale, support, labels)
        self.places = {cell.name: place for place, cell in enumerate(self.columns.cells)}

    def features(self, asked: pl.DataFrame) -> list[tuple[Feature, ...]]:
        """The loudest features of each row, the first threat's first, with its neighbours' values in them."""
        values, _ = self.columns.read(asked)
        gauss, known = self.scale.cells(values).gauss, self.scale.cells(self.values).gauss
        threats = np.arange(1, asked.height + 1)
        reasons = self.explainer.reasons(asked, threats, _FEATURES)
        found = []
        for row, threat in enumerate(threats):
            order = np.argsort(((known - gauss[row]) ** 2).sum(1), kind="stable")
            shots, benign = order[self.labels[order] == threat][:_SHOTS], order[self.labels[order] == 0][:_BENIGN]
            found.append(tuple(self._feature(reason, shots, benign) for reason in reasons[row]))
        return found

    def _feature(self, reason: Reason, shots: NDArray[np.intp], benign: NDArray[np.intp]) -> Feature:
        place = self.places[reason.column]
        source = self.columns.cells[place].source
        meaning, unit = _MEANINGS.get(source, ("", ""))
        if set(np.unique(self.values[~np.isnan(self.values[:, place]), place])) <= {0.0, 1.0}:
            unit = YES_OR_NO
        elif reason.column != source:
            unit = ""
        near = [[float(value) for value in self.values[which, place]] for which in (shots, benign)]
        out = [[self.scale.percentile(place, value) for value in side] for side in near]
        return Feature(
            reason.column,
            meaning,
            unit,
            reason.value,
            reason.percentile,
            reason.text,
            reason.as_the_shots,
            *(tuple(side) for pair in zip(near, out, strict=True) for side in pair),
        )
