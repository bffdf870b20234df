"""Alarms become alerts that grow and close after quiet; floods are folded, not lost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.kept import Evidence, KeptAlert
from kshot.stream.grouping import QUIET_SECONDS

MOST_EVIDENCE = 10
"""Records kept of an alert: the loudest."""
MOST_ALERTS_AN_HOUR = 1_000
MOST_OF_ONE = 3
"""Alerts an hour of one threat by one originator under a budget, beyond which further responders share one."""
LATE_SECONDS = 3_600.0
"""Records come in the order in which they end: one that began so long before the newest may still belong."""
_HOUR = 3_600 * 10**9

Key = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class GrowingOptions:
    """How alarms are grouped, and how many alerts there may be."""

    quiet_seconds: float = QUIET_SECONDS
    """A pause longer than this between two records of a group begins a new alert."""
    most_alerts_an_hour: int = MOST_ALERTS_AN_HOUR
    """Beyond, further parties of a threat share one alert without parties, hour by hour of the records' time."""
    most_of_one_an_hour: int | None = None
    """Beyond, further responders of one originator share one alert of a threat."""


def growing_for(most_alerts_an_hour: int, alerts_a_day: float | None) -> GrowingOptions:
    """How alerts are grouped under a budget: what is far beyond it in an hour, or of one originator, is folded."""
    if alerts_a_day is None:
        return GrowingOptions(most_alerts_an_hour=most_alerts_an_hour)
    most = max(5, math.ceil(alerts_a_day / 24 * 4))
    return GrowingOptions(most_alerts_an_hour=min(most_alerts_an_hour, most), most_of_one_an_hour=MOST_OF_ONE)


@dataclass(slots=True)
class _Growing:
    alert: KeptAlert
    changed: bool = True
    rows: list[int] = field(default_factory=list)
    """Of the batch at hand, those that may be evidence."""


class GrowingAlerts:
    """The open alerts of one source. `take` a batch, write `changed`, then say `written`."""

    def __init__(
        self,
        alerts: Sequence[KeptAlert] = (),
        hours: Mapping[int, int] | None = None,
        options: GrowingOptions = GrowingOptions(),
    ) -> None:
        """Go on with open `alerts`, and with how many were opened in which `hours`."""
        self.options = options
        self.hours = dict(hours or {})
        """Hour since the epoch, of the records' time: alerts opened."""
        self.folded = 0
        """Records whose alert was folded into one without parties."""
        self._open: dict[Key, _Growing] = {}
        self._of_one: Counter[tuple[int, str, str | None]] = Counter()
        for alert in alerts:
            self._open[_key(alert)] = _Growing(alert, changed=False)
            self._of_one[(alert.first_nanoseconds or 0) // _HOUR, alert.threat, alert.originator] += 1
        self._closed: list[_Growing] = []
        self._taken: list[_Growing] = []

    def __len__(self) -> int:
        return len(self._open)

    @property
    def parties(self) -> set[tuple[str | None, str | None]]:
        """Of the open alerts."""
        return {(originator, responder) for _, originator, responder in self._open}

    def take(
        self,
        alarms: pl.DataFrame,
        watermark: int,
        *,
        fingerprint: str,
        attack: Mapping[str, Sequence[str]],
        explain: Callable[[Sequence[int]], list[list[str]]],
        show: Callable[[Sequence[int]], list[tuple[str, str]]],
    ) -> None:
        """Add the alarms of a batch, then close what was quiet.

        alarms: `at` (row of the batch), row (number in the stream), threat, score, p_value, originator, responder,
        first, last (nanoseconds); in the order of rows.
        watermark: the greatest first time of any record so far.
        explain: rows of the batch -> reasons. show: rows of the batch -> facts and features, as JSON.
        """
        rows = alarms.to_dicts()
        touched: dict[int, _Growing] = {}
        for number, row in enumerate(rows):
            growing = self._place(row, fingerprint, attack)
            touched[id(growing)] = growing
            growing.rows.append(number)
            if len(growing.rows) > 16 * MOST_EVIDENCE:
                growing.rows = _loudest(growing.rows, rows)
        chosen = {id(one): _loudest(one.rows, rows) for one in touched.values()}
        at = sorted({number for numbers in chosen.values() for number in numbers})
        shown = dict(zip(at, show([rows[number]["at"] for number in at]), strict=True)) if at else {}
        newest: list[tuple[_Growing, int]] = []
        for growing in touched.values():
            found = [_evidence(rows[number], *shown[number]) for number in chosen[id(growing)]]
            both = sorted([*growing.alert.evidence, *found], key=lambda one: one.loudness)[:MOST_EVIDENCE]
            loudest = both[0]
            if loudest.record != growing.alert.record or not growing.alert.reasons:
                number = next(number for number in chosen[id(growing)] if rows[number]["row"] == loudest.record)
                newest.append((growing, rows[number]["at"]))
            growing.alert = replace(
                growing.alert,
                score=loudest.score,
                p_value=loudest.p_value,
                calibrated="none" if loudest.p_value is None else "site",
                record=loudest.record,
                evidence=tuple(both),
            )
            growing.rows = []
            growing.changed = True
        for (growing, _), reasons in zip(newest, explain([row for _, row in newest]) if newest else [], strict=True):
            growing.alert = replace(growing.alert, reasons=tuple(reasons))
        self._close(watermark)

    def _place(self, row: Mapping[str, object], fingerprint: str, attack: Mapping[str, Sequence[str]]) -> _Growing:
        """The alert that a record belongs to, grown by it."""
        threat, first, last = str(row["threat"]), int(row["first"]), int(row["last"])  # type: ignore[call-overload]
        key: Key = (threat, row["originator"], row["responder"])  # type: ignore[assignment]
        current = self._current(key, first)
        hour = first // _HOUR
        most = self.options.most_of_one_an_hour
        if current is None and most is not None and self._of_one[hour, threat, key[1]] >= most:
            key = (threat, key[1], None)
            current = self._current(key, first)
            self.folded += 1
        if current is None:
            if self.hours.get(hour, 0) >= self.options.most_alerts_an_hour:
                key = (threat, None, None)
                current = self._current(key, first)
                self.folded += 1
            else:
                self.hours[hour] = self.hours.get(hour, 0) + 1
                self._of_one[hour, threat, key[1]] += 1
        if current is not None:
            old = current.alert
            assert old.first_nanoseconds is not None and old.last_nanoseconds is not None
            current.alert = replace(
                old,
                first_nanoseconds=min(old.first_nanoseconds, first),
                last_nanoseconds=max(old.last_nanoseconds, last),
                flows=old.flows + 1,
            )
            return current
        alert = KeptAlert(
            id=0, threat=threat, originator=key[1], responder=key[2], first_nanoseconds=first, last_nanoseconds=last,
            flows=1, score=0.0, p_value=None, calibrated="none", attack=tuple(attack.get(threat, ())), reasons=(),
            record=0, is_open=True, fingerprint=fingerprint,
        )  # fmt: skip
        self._open[key] = _Growing(alert)
        return self._open[key]

    def _current(self, key: Key, first: int) -> _Growing | None:
        """The open alert of these parties; closed here if the pause before `first` was too long."""
        current = self._open.get(key)
        if current is None:
            return None
        last = current.alert.last_nanoseconds or 0
        if first - last <= self.options.quiet_seconds * 1e9:
            return current
        self._shut(key, current)
        return None

    def _close(self, watermark: int) -> None:
        border = watermark - round((self.options.quiet_seconds + LATE_SECONDS) * 1e9)
        for key, growing in list(self._open.items()):
            if (growing.alert.last_nanoseconds or 0) < border:
                self._shut(key, growing)
        oldest = border // _HOUR - 24
        self.hours = {hour: count for hour, count in self.hours.items() if hour >= oldest}
        if any(key[0] < oldest for key in self._of_one):
            self._of_one = Counter({key: count for key, count in self._of_one.items() if key[0] >= oldest})

    def _shut(self, key: Key, growing: _Growing) -> None:
        growing.alert = replace(growing.alert, is_open=False)
        growing.changed = True
        self._closed.append(growing)
        del self._open[key]

    def changed(self) -> list[KeptAlert]:
        """The alerts to write, those closed first; say `written` when they are."""
        self._taken = [*self._closed, *(growing for growing in self._open.values() if growing.changed)]
        return [growing.alert for growing in self._taken]

    def written(self, ids: Sequence[int]) -> list[KeptAlert]:
        """Note the ids of what `changed` gave; returns the alerts that are new."""
        new = []
        for growing, number in zip(self._taken, ids, strict=True):
            is_new = not growing.alert.id
            growing.alert = replace(growing.alert, id=number)
            growing.changed = False
            if is_new:
                new.append(growing.alert)
        self._closed, self._taken = [], []
        return new


def _key(alert: KeptAlert) -> Key:
    return alert.threat, alert.originator, alert.responder


def _loudest(numbers: Sequence[int], rows: Sequence[Mapping[str, object]]) -> list[int]:
    def loudness(number: int) -> tuple[float, float, int]:
        row = rows[number]
        p_value: float | None = row["p_value"]  # type: ignore[assignment]
        return (float("inf") if p_value is None else p_value, -float(row["score"]), int(row["row"]))  # type: ignore[arg-type, call-overload]

    return sorted(numbers, key=loudness)[:MOST_EVIDENCE]


def _evidence(row: Mapping[str, object], facts: str, features: str) -> Evidence:
    return Evidence(
        record=int(row["row"]),  # type: ignore[call-overload]
        score=float(row["score"]),  # type: ignore[arg-type]
        p_value=None if row["p_value"] is None else float(row["p_value"]),  # type: ignore[arg-type]
        facts=facts,
        features=features,
    )


def alarms_of(
    flows: pl.DataFrame, first_row: int, threat: NDArray[np.object_], score: NDArray[np.float64],
    p_value: NDArray[np.float64], alarm: NDArray[np.bool_],
) -> pl.DataFrame:  # fmt: skip
    """What `take` wants of the alarming records of a batch whose first record is number `first_row`."""
    at = np.flatnonzero(alarm)
    chosen = flows.select(
        "originator",
        "responder",
        pl.col("first_time").cast(pl.Int64).alias("first"),
        pl.col("last_time").cast(pl.Int64).alias("last"),
    )[at]
    return chosen.with_columns(
        pl.Series("at", at),
        pl.Series("row", at + first_row),
        pl.Series("threat", [str(name) for name in threat[at]], dtype=pl.String),
        pl.Series("score", score[at]),
        pl.Series("p_value", p_value[at]).fill_nan(None),
    )
