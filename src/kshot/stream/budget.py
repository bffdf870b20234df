"""A budget of alerts per day, turned into the false-alarm rate of a record."""

from __future__ import annotations

import numpy as np
import polars as pl

from kshot.errors import UserError
from kshot.stream.grouping import QUIET_SECONDS, number_groups

_SHORTEST_SECONDS = 60.0
_SECONDS_A_DAY = 86_400.0


def rate_for_budget(reference: pl.DataFrame, alerts_per_day: float, quiet_seconds: float = QUIET_SECONDS) -> float:
    """The greatest false-alarm rate whose grouped alerts stay within `alerts_per_day` on traffic like the reference.

    If each record alarms with probability p, a group of n records between the same parties is an alert with
    probability 1 - (1 - p)^n; the sum of these over the reference's groups, by its length in days, is what a day
    brings. Alarms that come in bursts of one group only make it fewer, so the budget holds.

    Parameters:
        reference: originator, responder, first_time, last_time of the reference's records.

    Raises:
        UserError: the records have no times, or cover less than a minute.
    """
    first, last = reference["first_time"].min(), reference["last_time"].max()
    if first is None or last is None:
        raise UserError("--alerts-per-day needs times, and these records have none; give --false-alarm-rate instead")
    seconds = (last - first).total_seconds()  # type: ignore[operator, union-attr]
    if seconds < _SHORTEST_SECONDS:
        raise UserError(
            f"--alerts-per-day: the reference covers {seconds:.0f} seconds, too short to say what a day is; "
            "give a longer --reference or --false-alarm-rate"
        )
    groups = number_groups(reference, ["originator", "responder"], quiet_seconds)
    sizes = np.bincount(groups.to_numpy()).astype(np.float64)
    budget = alerts_per_day * seconds / _SECONDS_A_DAY
    # The sum grows with p, so the rate is found by halving; 0.5 is more than anyone wants.
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        expected = -np.expm1(sizes * np.log1p(-middle)).sum()
        low, high = (middle, high) if expected <= budget else (low, middle)
    return low
