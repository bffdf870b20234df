"""What a watch keeps: the growing alert, the records behind it, what an analyst says of it."""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass

LABELS = ("malicious", "benign-trigger", "false-positive")
"""What an analyst may say of an alert: an attack; a true match of something harmless; no match at all."""
SEGMENT = "segment"
"""Beside the features of a record that was judged by segments: the name of its own, "" for the rest."""


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
    """What was judged: a JSON object, name to value; and `SEGMENT`, where there are segments."""

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
    suppressed_by: int | None = None
    """The suppression that it falls under; its growth is kept, and nobody is told."""

    @property
    def segment(self) -> str | None:
        """Where its loudest record lies, "" for the rest; None without segments, or without evidence."""
        return _segment([one.features for one in self.evidence])


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

    @property
    def segment(self) -> str | None:
        """As the alert's, at that time."""
        return _segment(self.features)


def _segment(features: Sequence[str]) -> str | None:
    told = json.loads(features[0]).get(SEGMENT) if features else None
    return None if told is None else str(told)


@dataclass(frozen=True, slots=True)
class Suppression:
    """What nobody wants to hear of."""

    id: int
    threat: str | None
    """None: any."""
    originator: str | None
    """An address or a network such as 10.0.0.0/8; None: any."""
    responder: str | None
    until_nanoseconds: int | None
    """Alerts that begin then or later are told again; None: never."""
    note: str
    who: str
    when: datetime.datetime
    is_lifted: bool = False

    def covers(self, alert: KeptAlert) -> bool:
        """Whether an alert falls under it.

        >>> import datetime
        >>> noon = datetime.datetime(2026, 3, 2, 12)
        >>> scan = KeptAlert(1, "scan", "10.0.0.7", None, 5, 9, 1, 0.0, None, "none", (), (), 1, True, "f")
        >>> Suppression(1, "scan", "10.0.0.0/24", None, None, "", "ada", noon).covers(scan)
        True
        >>> Suppression(2, None, "10.0.0.8", None, None, "", "ada", noon).covers(scan)
        False
        >>> Suppression(3, "scan", None, None, 5, "", "ada", noon).covers(scan)
        False
        """
        if self.is_lifted or (self.threat is not None and self.threat != alert.threat):
            return False
        if self.until_nanoseconds is not None and (alert.first_nanoseconds or 0) >= self.until_nanoseconds:
            return False
        return _within(alert.originator, self.originator) and _within(alert.responder, self.responder)


def _within(address: str | None, scope: str | None) -> bool:
    if scope is None or address == scope:
        return True
    try:
        return address is not None and ipaddress.ip_address(address) in ipaddress.ip_network(scope, strict=False)
    except ValueError:
        return False
