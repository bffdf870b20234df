"""While traffic changes: drift is told, the alert budget held, the reference renewed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.stream.alert_budget import HOUR, AlertBudget
from kshot.stream.budget import GroupSizes
from kshot.stream.drift import Drift
from kshot.stream.reservoir import Reservoir, packed, unpacked
from kshot.stream.segments import COLUMN, REST, late_of
from kshot.stream.standing import Verdicts

LEAST_RECORDS = 1_000
"""Of late, for a new reference."""
REFIT_HOURS = 6
"""Between two new references, at least."""


class Steering:
    """Stands between the detector and the alerts of one stream.

    By the hours of the records' own time, so that it does not matter how records fall into batches: the budget's
    threshold is chosen anew each hour, and where traffic has left the calibration the detector is fitted on what
    traffic was like of late. Drift is a segment's own; the budget is one for all.
    """

    def __init__(
        self,
        log: Callable[..., None],
        *,
        alerts_a_day: float | None = None,
        sizes: GroupSizes | None = None,
        reservoir: Reservoir | None = None,
        segments: Sequence[str] = (),
    ) -> None:
        """With `alerts_a_day` also the `sizes` of the groups of all references. `segments`: names, if there are any."""
        self._log = log
        self._segments = segments
        self._has_segments = bool(segments)
        self._sizes = sizes
        self._drifts: dict[str, Drift] = {REST: Drift()}
        self.budget = None if alerts_a_day is None or sizes is None else AlertBudget(alerts_a_day, sizes.alerts_a_day)
        self.reservoir = reservoir if reservoir is not None else Reservoir()
        self._records: dict[int, int] = {}
        self._hour = -1
        self._refitted = -(1 << 40)
        self.refits = 0
        """References made anew since the start."""
        self.fresh: pl.DataFrame | None = None
        """What the detector is to be fitted on, if not on what it was given; by segment: see `late_of`."""
        self._taken: list[pl.DataFrame] = []
        self._standing: bytes | None = None

    def restore(self, state: Mapping[str, Any], standing: bytes, parts: list[bytes]) -> None:
        """Go on where a store says; a budget of another size begins anew."""
        self._drifts = {REST: Drift(state["drift"])}
        held = state.get("segments", {})
        self._drifts |= {name: Drift(held[name]) for name in self._segments if name in held}
        if self.budget is not None and self._sizes is not None and state["budget"] is not None:
            self.budget = AlertBudget(self.budget.alerts_a_day, self._sizes.alerts_a_day, state["budget"])
        self._records = {int(hour): int(count) for hour, count in state["records"].items()}
        self._hour, self._refitted = int(state["hour"]), int(state["refitted"])
        self.reservoir.stride = int(state["stride"])
        self.reservoir.restore(parts)
        self.fresh = unpacked(standing) if standing and self.budget is not None else None

    def state(self) -> dict[str, Any]:
        """What `restore` needs beside the reservoir, as JSON's types."""
        return {
            "drift": self._drifts[REST].state(),
            "segments": {name: drift.state() for name, drift in self._drifts.items() if name != REST},
            "budget": None if self.budget is None else self.budget.state(),
            "records": self._records,
            "hour": self._hour, "refitted": self._refitted, "stride": self.reservoir.stride,
        }  # fmt: skip

    def stretches(self, firsts: NDArray[np.int64], watermark: int) -> list[tuple[int, int, int]]:
        """Cut a batch where an hour begins: begin and end of each stretch, and its hour."""
        if not len(firsts):
            return []
        hours = np.maximum(np.maximum.accumulate(firsts), watermark) // HOUR
        cuts = [0, *(np.flatnonzero(np.diff(hours)) + 1).tolist(), len(firsts)]
        return [(begin, end, int(hours[begin])) for begin, end in itertools.pairwise(cuts)]

    def begin(self, hour: int) -> bool:
        """Come to an hour; True where the detector has to be fitted anew, on `fresh`."""
        if hour == self._hour:
            return False
        self._hour = hour
        for name, drift in self._drifts.items():
            if drift.hour_over():
                self._log("drift" if drift.is_told else "drift_over", traffic=drift.direction, **_where(name))
        self._records = {at: count for at, count in self._records.items() if at >= hour - 24}
        volume = self._volume()
        self.reservoir.forget(hour * HOUR)
        if self.budget is None:
            return False
        self.budget.hour_over(hour, volume)
        told = [name for name, drift in self._drifts.items() if drift.is_told]
        if not told or hour - self._refitted < REFIT_HOURS:
            return False
        recent = self.reservoir.recent(hour * HOUR)
        late = {name: self._late(name, recent) for name in told}
        enough = {name: rows for name, rows in late.items() if rows is not None and rows.height >= LEAST_RECORDS}
        if not enough:
            return False
        for name, rows in enough.items():
            why = f"traffic is {self._drifts[name].direction} than the reference"
            self._log("recalibrated", records=rows.height, why=why, **_where(name))
            self._drifts[name] = Drift()
        self._refitted, self.fresh = hour, self._renewed(enough)
        self._standing = packed(self.fresh)
        self.refits += 1
        self.budget.begin_anew(volume)
        return True

    def _late(self, name: str, rows: pl.DataFrame) -> pl.DataFrame | None:
        return late_of(name, rows) if self._has_segments else rows

    def _renewed(self, late: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """What to fit on: late records of some segments, what was fitted on before in the others."""
        if not self._has_segments:
            return late[REST]
        parts = [rows.with_columns(pl.lit(name).alias(COLUMN)) for name, rows in late.items()]
        if self.fresh is not None and COLUMN in self.fresh.columns:
            parts.append(self.fresh.filter(~pl.col(COLUMN).is_in([*late])))
        return pl.concat(parts, how="diagonal")

    def _volume(self) -> float:
        past = {at: count for at, count in self._records.items() if at < self._hour}
        if self._sizes is None or not past:
            return 1.0
        hours = max(1, self._hour - min(past))
        return sum(past.values()) / hours / self._sizes.records_an_hour

    def steer(self, verdicts: Verdicts, flows: pl.DataFrame) -> Verdicts:
        """Decide which records of a stretch alarm, and learn from them."""
        self._records[self._hour] = self._records.get(self._hour, 0) + flows.height
        pairs = flows.select(pl.struct("originator", "responder").hash()).to_series().to_numpy()
        self._has_segments = verdicts.segment is not None
        if verdicts.segment is None:
            self._drifts = {REST: self._drifts[REST]}
            self._drifts[REST].take(verdicts.p_value, pairs)
        else:
            for name in dict.fromkeys(verdicts.segment.tolist()):
                mine = verdicts.segment == name
                self._drifts.setdefault(name, Drift()).take(verdicts.p_value[mine], pairs[mine])
        if self.budget is None or verdicts.loudness is None or verdicts.harmless is None:
            return verdicts
        decided = self.decide(verdicts)
        loud = np.flatnonzero((verdicts.loudness >= self.budget.quietest) & ~verdicts.harmless)
        told = flows.select("originator", "responder", pl.col("first_time", "last_time").cast(pl.Int64))[loud]
        rows = zip(verdicts.loudness[loud].tolist(), verdicts.threat[loud].tolist(), *told.get_columns(), strict=True)
        self.budget.take([(a, str(b), c, d, int(e), int(f)) for a, b, c, d, e, f in rows])
        return decided

    def decide(self, verdicts: Verdicts) -> Verdicts:
        """As `steer`, learning nothing: of flows that come again when they end."""
        if self.budget is None or verdicts.loudness is None or verdicts.harmless is None:
            return verdicts
        alarm = verdicts.loudness >= self.budget.threshold
        muted = int((alarm & verdicts.harmless).sum())
        return replace(verdicts, alarm=alarm & ~verdicts.harmless, muted=muted)

    def learn(
        self, features: pl.DataFrame, flows: pl.DataFrame, first_row: int, verdicts: Verdicts,
        parties_of_alerts: set[tuple[str | None, str | None]],
    ) -> None:  # fmt: skip
        """Let records that belong to no alert into the reservoir."""
        if self.budget is None:
            return
        may = self.reservoir.wanted(first_row, features.height)
        may = may[~verdicts.alarm[may]]
        parties = zip(flows["originator"][may.tolist()], flows["responder"][may.tolist()], strict=True)
        at = np.array([row for row, pair in zip(may, parties, strict=True) if pair not in parties_of_alerts], np.intp)
        times = flows["last_time"].cast(pl.Int64).to_numpy()[at]
        rows = features[at.tolist()]
        if verdicts.segment is not None:
            rows = rows.with_columns(pl.Series(COLUMN, verdicts.segment[at].tolist(), dtype=pl.String))
        self._taken.append(self.reservoir.take(rows, times, at + first_row))

    def written(self) -> None:
        """What `left` gave is committed."""
        self._taken, self._standing = [], None

    def left(self) -> tuple[bytes, bytes | None]:
        """What is to be committed: records that joined the reservoir, and the reference fitted on, if it is new."""
        taken = [part for part in self._taken if part.height]
        return packed(pl.concat(taken)) if taken else b"", self._standing

    def stats(self) -> dict[str, float]:
        """For the statistics."""
        told: dict[str, float] = {
            "drift": sum(drift.is_told for drift in self._drifts.values()),
            "drift_log10_wealth": round(max(drift.log10_wealth for drift in self._drifts.values()), 2),
            "recalibrations": self.refits,
        }
        if self.budget is not None:
            told["alarm_rate"] = math.exp(-self.budget.threshold)
        return told


def _where(segment: str) -> dict[str, str]:
    return {} if segment == REST else {"segment": segment}
