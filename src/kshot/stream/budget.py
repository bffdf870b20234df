"""A budget of alerts per day, turned into the false-alarm rate of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import UserError
from kshot.stream.grouping import QUIET_SECONDS, number_groups

_SHORTEST_SECONDS = 60.0
_SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class GroupSizes:
    """How many records the parties of a reference exchanged, and in how long: what a day of alerts follows from."""

    sizes: NDArray[np.float64]
    """(n,) distinct numbers of records of a group."""
    counts: NDArray[np.float64]
    """(n,) groups of each size."""
    seconds: float
    """From the first record to the last."""

    @classmethod
    def of(cls, parties: pl.DataFrame, quiet_seconds: float = QUIET_SECONDS) -> GroupSizes:
        """Count the groups of records with originator, responder, first_time, last_time.

        Raises:
            UserError: the records have no times, or cover less than a minute.
        """
        first, last = parties["first_time"].min(), parties["last_time"].max()
        if first is None or last is None:
            raise UserError(
                "--alerts-per-day needs times, and these records have none; give --false-alarm-rate instead"
            )
        seconds = (last - first).total_seconds()  # type: ignore[operator, union-attr]
        if seconds < _SHORTEST_SECONDS:
            raise UserError(
                f"--alerts-per-day: the reference covers {seconds:.0f} seconds, too short to say what a day is; "
                "give a longer --reference or --false-alarm-rate"
            )
        groups = number_groups(parties, ["originator", "responder"], quiet_seconds)
        sizes, counts = np.unique(np.bincount(groups.to_numpy()), return_counts=True)
        return cls(sizes.astype(np.float64), counts.astype(np.float64), float(seconds))

    @classmethod
    def joined(cls, parts: Sequence[GroupSizes]) -> GroupSizes:
        """What several references bring together, each at its own pace."""
        seconds = parts[0].seconds
        counts = [part.counts * (seconds / part.seconds) for part in parts]
        return cls(np.concatenate([part.sizes for part in parts]), np.concatenate(counts), seconds)

    def times(self, share: float) -> GroupSizes:
        """So many as many groups, in the same time."""
        return GroupSizes(self.sizes, self.counts * share, self.seconds)

    @property
    def records_an_hour(self) -> float:
        """Records of the reference, by its length."""
        return float((self.sizes * self.counts).sum() * 3_600.0 / self.seconds)

    def alerts_a_day(self, rate: float) -> float:
        """Groups with an alarm that a day brings where each record alarms with probability `rate` by itself.

        A group of n records between the same parties is an alert with probability 1 - (1 - p)^n. Alarms that come in
        bursts of one group only make it fewer.
        """
        hit = -np.expm1(self.sizes * np.log1p(-min(rate, 1.0 - 1e-12)))
        return float((self.counts * hit).sum() * _SECONDS_A_DAY / self.seconds)

    def rate_for(self, alerts_per_day: float) -> float:
        """The greatest false-alarm rate, up to 0.5, whose alerts stay within `alerts_per_day`."""
        low, high = 0.0, 0.5
        for _ in range(60):  # the sum grows with the rate, so it is found by halving
            middle = (low + high) / 2
            low, high = (middle, high) if self.alerts_a_day(middle) <= alerts_per_day else (low, middle)
        return low

    def told(self) -> dict[str, Any]:
        """As JSON's types; `heard` reads it back."""
        return {"sizes": self.sizes.tolist(), "counts": self.counts.tolist(), "seconds": self.seconds}

    @classmethod
    def heard(cls, told: Mapping[str, Any]) -> GroupSizes:
        """What `told` gave."""
        return cls(np.array(told["sizes"], float), np.array(told["counts"], float), float(told["seconds"]))


def rate_for_budget(reference: pl.DataFrame, alerts_per_day: float, quiet_seconds: float = QUIET_SECONDS) -> float:
    """The greatest false-alarm rate whose grouped alerts stay within `alerts_per_day` on traffic like the reference.

    Raises what `GroupSizes.of` raises.
    """
    return GroupSizes.of(reference, quiet_seconds).rate_for(alerts_per_day)
