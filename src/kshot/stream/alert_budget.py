"""A promise of alerts a day: the threshold follows the alerts that would have been."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kshot.stream.grouping import QUIET_SECONDS
from kshot.stream.growing import MOST_OF_ONE

HOUR = 3_600 * 10**9
_WINDOW_HOURS = 24
_MARGIN = 3.0
"""What is so much less loud than an alert is not remembered: the threshold falls by no more in an hour."""
_FALL = 1.0
"""Of the threshold in an hour, at most."""
_LEAST, _GREATEST = 0.7, 80.0

Key = tuple[str, str | None, str | None]


class AlertBudget:
    """Chooses how loud a record must be so that a day brings so many alerts.

    Loudness is -ln of a record's alarm p-value, continued beyond the least p-value that can be attained. What would
    have been an alert at any threshold near the present one is remembered for a day, by the records' own time, grouped
    as alerts are; the threshold is where those of the last day were as many as were promised. Hours not seen yet
    count as the reference has them.
    """

    def __init__(self, alerts_a_day: float, expected: Callable[[float], float], state: Mapping[str, Any] | None = None):
        """`expected`: a false-alarm rate -> alerts a day, by the reference."""
        self.alerts_a_day = alerts_a_day
        self._expected = expected
        self._began = -1
        self._hour = -1
        self._hours: dict[int, list[float]] = {}
        self._open: dict[Key, list[int]] = {}
        self._of_one: dict[tuple[str, str | None], int] = {}
        self.threshold = self._solve(1.0)
        """The least loudness that alarms."""
        if state:
            self.threshold, self._began, self._hour = state["threshold"], state["began"], state["hour"]
            self._hours = {int(hour): list(found) for hour, found in state["hours"].items()}
            self._open = {(key[0], key[1], key[2]): list(place) for key, place in state["open"]}
            self._of_one = {(key[0], key[1]): count for key, count in state["of_one"]}

    def state(self) -> dict[str, Any]:
        """All that it remembers, as JSON's types."""
        return {
            "threshold": self.threshold, "began": self._began, "hour": self._hour,
            "hours": self._hours, "open": [[list(key), place] for key, place in self._open.items()],
            "of_one": [[list(key), count] for key, count in self._of_one.items()],
        }  # fmt: skip

    @property
    def quietest(self) -> float:
        """Records less loud than this need not be shown to `take`."""
        return self.threshold - _MARGIN

    def take(self, rows: Sequence[tuple[float, str, str | None, str | None, int, int]]) -> None:
        """Remember records: loudness, threat, originator, responder, first and last time (ns), in their order."""
        found = self._hours.setdefault(self._hour, [])
        for loudness, threat, originator, responder, first, last in rows:
            key: Key = (threat, originator, responder)
            if not self._grow(key, loudness, first, last):
                one = (threat, originator)
                if self._of_one.get(one, 0) >= MOST_OF_ONE:
                    key = (threat, originator, None)
                    if self._grow(key, loudness, first, last):
                        continue
                self._of_one[one] = self._of_one.get(one, 0) + 1
                self._open[key] = [last, self._hour, len(found)]
                found.append(round(loudness, 4))

    def _grow(self, key: Key, loudness: float, first: int, last: int) -> bool:
        place = self._open.get(key)
        if place is None or first - place[0] > QUIET_SECONDS * 1e9:
            return False
        place[0] = max(place[0], last)
        hour = self._hours.get(place[1])
        if hour is not None and place[2] < len(hour):
            hour[place[2]] = max(hour[place[2]], round(loudness, 4))
        return True

    def hour_over(self, hour: int, volume: float = 1.0) -> None:
        """Begin an hour (since the epoch) and choose the threshold anew.

        volume: records an hour of late, by those of the reference.
        """
        if self._began < 0:
            self._began = hour
        self._hour = hour
        self._hours = {at: found for at, found in self._hours.items() if at >= hour - _WINDOW_HOURS}
        border = (hour - 1) * HOUR - round(QUIET_SECONDS * 1e9)
        self._open = {key: place for key, place in self._open.items() if place[0] >= border}
        self._of_one = {}
        self.threshold = max(self._solve(volume), self.threshold - _FALL)

    def begin_anew(self, volume: float = 1.0) -> None:
        """Forget what was loud by an earlier calibration."""
        self._began, self._hours, self._open = self._hour, {}, {}
        self.threshold = self._solve(volume)

    def _solve(self, volume: float) -> float:
        seen = min(_WINDOW_HOURS, self._hour - self._began) if self._began >= 0 else 0
        unseen = (_WINDOW_HOURS - seen) / _WINDOW_HOURS * volume
        loud = sorted(one for found in self._hours.values() for one in found)
        low, high = _LEAST, _GREATEST
        for _ in range(50):
            middle = (low + high) / 2
            count = len(loud) - bisect_left(loud, middle) + unseen * self._expected(math.exp(-middle))
            low, high = (low, middle) if count <= self.alerts_a_day else (middle, high)
        return high
