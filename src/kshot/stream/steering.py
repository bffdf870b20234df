"""While traffic changes: drift is told, the alert budget held, the reference renewed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.stream.alert_budget import HOUR, AlertBudget
from kshot.stream.budget import GroupSizes
from kshot.stream.drift import Drift
from kshot.stream.reservoir import Reservoir, packed, unpacked
from kshot.stream.standing import Verdicts

LEAST_RECORDS = 1_000
"""Of late, for a new reference."""
REFIT_HOURS = 6
"""Between two new references, at least."""


class Steering:
    """Stands between the detector and the alerts of one stream.

    By the hours of the records' own time, so that it does not matter how records fall into batches: the budget's
    threshold is chosen anew each hour, and where traffic has left the calibration the detector is fitted on what
    traffic was like of late.
    """

    def __init__(
        self,
        log: Callable[..., None],
        *,
        alerts_a_day: float | None = None,
        sizes: GroupSizes | None = None,
        reservoir: Reservoir | None = None,
    ) -> None:
        """With `alerts_a_day` also the `sizes` of the reference's groups."""
        self._log = log
        self._sizes = sizes
        self.drift = Drift()
        self.budget = None if alerts_a_day is None or sizes is None else AlertBudget(alerts_a_day, sizes.alerts_a_day)
        self.reservoir = reservoir if reservoir is not None else Reservoir()
        self._records: dict[int, int] = {}
        self._hour = -1
        self._refitted = -(1 << 40)
        self.refits = 0
        """References made anew since the start."""
        self.fresh: pl.DataFrame | None = None
        """What the detector is to be fitted on, if not on the reference that it was given."""
        self._taken: list[pl.DataFrame] = []
        self._standing: bytes | None = None

    def restore(self, state: Mapping[str, Any], standing: bytes, parts: list[bytes]) -> None:
        """Go on where a store says; a budget of another size begins anew."""
        self.drift = Drift(state["drift"])
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
            "drift": self.drift.state(), "budget": None if self.budget is None else self.budget.state(),
            "records": self._records, "hour": self._hour, "refitted": self._refitted, "stride": self.reservoir.stride,
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
        if self.drift.hour_over():
            self._log("drift" if self.drift.is_told else "drift_over", traffic=self.drift.direction)
        self._records = {at: count for at, count in self._records.items() if at >= hour - 24}
        volume = self._volume()
        self.reservoir.forget(hour * HOUR)
        if self.budget is None:
            return False
        self.budget.hour_over(hour, volume)
        if not self.drift.is_told or hour - self._refitted < REFIT_HOURS:
            return False
        fresh = self.reservoir.recent(hour * HOUR)
        if fresh.height < LEAST_RECORDS:
            return False
        self._refitted, self.fresh, self._standing = hour, fresh, packed(fresh)
        self.refits += 1
        self._log("recalibrated", records=fresh.height, why=f"traffic is {self.drift.direction} than the reference")
        self.drift = Drift()
        self.budget.begin_anew(volume)
        return True

    def _volume(self) -> float:
        past = {at: count for at, count in self._records.items() if at < self._hour}
        if self._sizes is None or not past:
            return 1.0
        hours = max(1, self._hour - min(past))
        return sum(past.values()) / hours / self._sizes.records_an_hour

    def steer(self, verdicts: Verdicts, flows: pl.DataFrame) -> Verdicts:
        """Decide which records of a stretch alarm, and learn from them."""
        self._records[self._hour] = self._records.get(self._hour, 0) + flows.height
        self.drift.take(
            verdicts.p_value, flows.select(pl.struct("originator", "responder").hash()).to_series().to_numpy()
        )
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
        self, features: pl.DataFrame, flows: pl.DataFrame, first_row: int, alarm: NDArray[np.bool_],
        parties_of_alerts: set[tuple[str | None, str | None]],
    ) -> None:  # fmt: skip
        """Let records that belong to no alert into the reservoir."""
        if self.budget is None:
            return
        may = self.reservoir.wanted(first_row, features.height)
        may = may[~alarm[may]]
        parties = zip(flows["originator"][may.tolist()], flows["responder"][may.tolist()], strict=True)
        at = np.array([row for row, pair in zip(may, parties, strict=True) if pair not in parties_of_alerts], np.intp)
        times = flows["last_time"].cast(pl.Int64).to_numpy()[at]
        self._taken.append(self.reservoir.take(features[at.tolist()], times, at + first_row))

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
            "drift": int(self.drift.is_told),
            "drift_log10_wealth": round(self.drift.log10_wealth, 2),
            "recalibrations": self.refits,
        }
        if self.budget is not None:
            told["alarm_rate"] = math.exp(-self.budget.threshold)
        return told
