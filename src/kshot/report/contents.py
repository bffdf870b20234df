"""What a report holds, ready to be drawn: everything is counted and chosen before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.alerts import ALERT_SCHEMA

YES_OR_NO = "yes or no"
"""The unit of a feature that is 1 or 0."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How one threat, or benign life, fared against the truth."""

    threat: str
    """The threat's name; "" for benign flows."""
    tools: tuple[str, ...]
    """What made these flows, where the truth tells."""
    flows: int
    alarmed: int
    """Of them, under any name: found, or for benign flows false alarms."""
    named: int
    """Of them, under this name."""
    alarmed_before: int | None = None
    """Alarmed before the new threat was taught; None where there is no before."""

    @property
    def share(self) -> float:
        """Alarmed of all, 0..1."""
        return self.alarmed / self.flows if self.flows else 0.0

    @property
    def share_before(self) -> float | None:
        """Alarmed before of all, 0..1."""
        if self.alarmed_before is None:
            return None
        return self.alarmed_before / self.flows if self.flows else 0.0


@dataclass(frozen=True, slots=True)
class Lane:
    """One line of the timeline."""

    name: str
    threat: str
    """Whose colour it has; "" for none."""
    found: NDArray[np.int64]
    """(n,) nanoseconds since the epoch at which its alarmed flows began."""
    missed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(m,) of those that the truth tells and nothing alarmed."""
    spans: Sequence[tuple[int, int]] = ()
    """First and last nanosecond of each alert."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of all records."""

    values: NDArray[np.float64]
    """(n,) higher is louder."""
    groups: Mapping[str, NDArray[np.bool_]]
    """What to tell apart by colour -> (n,) which records; together they cover all."""
    threshold: float | None
    """The score from which on records alarm; None where nothing calibrates."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature behind an alert: this record's, the shots' and the nearest benign records' values."""

    name: str
    meaning: str
    unit: str
    value: float
    percentile: float
    """Share of the reference below the value, in percent; nan where missing."""
    text: str
    """How far out it is, in one line."""
    as_the_shots: bool
    shots: tuple[float, ...]
    shot_percentiles: tuple[float, ...]
    benign: tuple[float, ...]
    benign_percentiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind one alert."""

    threat: str
    parties: str
    first_time: datetime | None
    description: str
    features: tuple[Feature, ...]
    """Loudest first."""
    shots_in_all: int
    reference_rows: int
    flow: tuple[tuple[str, str], ...] = ()
    """Facts of the loudest record: what, and its value."""


@dataclass(frozen=True, slots=True)
class Report:
    """One report."""

    title: str
    lead: str
    """One or two sentences: what was done and what came of it."""
    facts: Sequence[tuple[str, str]]
    """Small figures under the headline: what, and its value."""
    alerts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ALERT_SCHEMA))
    """ALERT_SCHEMA, the loudest first."""
    ranked: bool = False
    """Whether these are the top of a ranking, because nothing calibrates, and not alerts."""
    taught: str = ""
    """The threat that was taught between before and after."""
    tallies: Sequence[Tally] = ()
    """Threats, then benign; empty where no truth is known."""
    moments: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """(n,) when each record began, nanoseconds since the epoch; empty without times."""
    lanes: Sequence[Lane] = ()
    evidence: Sequence[Evidence] = ()
    scores: Scores | None = None
    notes: Sequence[str] = ()
    made_by: str = ""
    """The program and the command."""
