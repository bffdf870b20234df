"""What a watch keeps: the growing alert, the records behind it, what an analyst says of it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

LABELS = ("malicious", "benign-trigger", "false-positive")
"""What an analyst may say of an alert: an attack; a true match of something harmless; no match at all."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One record behind an alert."""

    record: int
    """Its number in the stream, from 1."""
    score: float
    p_value: float | None
    facts: str
    """What people see of it: a JSON object."""
    features: str
    """What was judged: a JSON object, name to value."""

    @property
    def loudness(self) -> tuple[float, float, int]:
        """Sorts the loudest first: the least p-value, then the greatest score, then the first."""
        return (float("inf") if self.p_value is None else self.p_value, -self.score, self.record)


@dataclass(frozen=True, slots=True)
class KeptAlert:
    """An alert that grows while its parties go on."""

    id: int
    """From 1, in the order of opening; never used again."""
    threat: str
    originator: str | None
    responder: str | None
    first_nanoseconds: int | None
    """Since the Unix epoch; None where records have no times."""
    last_nanoseconds: int | None
    flows: int
    """Records grouped."""
    score: float
    p_value: float | None
    calibrated: str
    attack: tuple[str, ...]
    reasons: tuple[str, ...]
    record: int
    """The loudest record's number in the stream, from 1."""
    is_open: bool
    fingerprint: str
    """Of the features that its evidence holds."""
    evidence: tuple[Evidence, ...] = ()
    """The loudest records, the loudest first; empty where it was not asked for."""


@dataclass(frozen=True, slots=True)
class Label:
    """What an analyst said of an alert."""

    id: int
    alert: int
    verdict: str
    """One of LABELS."""
    threat: str
    """Which threat it is said about."""
    note: str
    who: str
    when: datetime.datetime
    is_undone: bool
    features: tuple[str, ...]
    """JSON objects: the judged records of the alert at that time, which it teaches from."""
    fingerprint: str
