"""Has the traffic left the calibration? Bets on p-values that cannot win while it has not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TOLD, _OVER = math.log(1e6), math.log(10.0)
"""Wealth at which drift is told, and below which it is over."""

_BITS = 1_024


@dataclass(frozen=True, slots=True)
class _Bet:
    """That the share of p-values up to `level` is not what it should be."""

    level: float
    bound: float
    """What the share may be at most, or at least where `sign` is -1, on traffic that is still the reference's."""
    sign: float
    stake: float
    words: str

    def gain(self, share: float) -> float:
        """Logarithm of what a stake becomes, on the mean of records of which a share is up to the level."""
        hit = math.log1p(self.stake * self.sign * (1.0 - self.bound))
        return share * hit + (1.0 - share) * math.log1p(-self.stake * self.sign * self.bound)


_BETS = (
    _Bet(0.1, 0.2, 1.0, 1.25, "louder"),
    _Bet(0.01, 0.02, 1.0, 1.5, "louder"),
    _Bet(0.5, 0.25, -1.0, 0.8, "quieter"),
)
"""A reference is finite and no day is like another: up to twice as many loud records, or half as many, is no drift."""


class Drift:
    """A test martingale of each bet (Vovk, Nouretdinov, Gammerman 2003), begun anew whenever it has lost.

    While the share that a bet is on stays within its bound, no strategy of betting gains: wealth of 1e6 has a chance of
    1e-6 (Ville's inequality) each time it begins anew. Records of one pair of hosts come in bursts, so an hour is worth
    as many stakes as it has pairs.
    """

    def __init__(self, state: Mapping[str, Any] | None = None) -> None:
        self._wealth = list(state["wealth"]) if state else [0.0] * len(_BETS)
        self.is_told: bool = bool(state["is_told"]) if state else False
        """Whether the traffic is away from the calibration."""
        self._records: int = state["records"] if state else 0
        self._hits: list[int] = list(state["hits"]) if state else [0] * len(_BETS)
        self._pairs = int(state["pairs"], 16) if state else 0

    def state(self) -> dict[str, Any]:
        """All that it remembers, as JSON's types."""
        return {
            "wealth": self._wealth, "is_told": self.is_told, "records": self._records, "hits": self._hits,
            "pairs": f"{self._pairs:x}",
        }  # fmt: skip

    @property
    def log10_wealth(self) -> float:
        """Of the bet that won most."""
        return max(self._wealth) / math.log(10.0)

    @property
    def direction(self) -> str:
        """Whether traffic is "louder" or "quieter" than the reference, by the bet that won most."""
        return _BETS[int(np.argmax(self._wealth))].words

    def take(self, p_values: NDArray[np.float64], pairs: NDArray[np.uint64]) -> None:
        """Add records of the hour at hand: their p-values, and a hash of the pair of hosts of each."""
        known = ~np.isnan(p_values)
        self._records += int(known.sum())
        for number, bet in enumerate(_BETS):
            self._hits[number] += int((p_values[known] <= bet.level).sum())
        for bit in np.unique(pairs[known] % np.uint64(_BITS)).tolist():
            self._pairs |= 1 << bit

    def hour_over(self) -> bool:
        """Bet on the hour that is over; True when drift begins, or ends, with it."""
        records, hits, pairs = self._records, self._hits, self._pairs
        self._records, self._hits, self._pairs = 0, [0] * len(_BETS), 0
        if not records:
            return False
        # As many pairs as would leave so many bits unset (linear counting; Whang et al. 1990).
        unset = max(1, _BITS - pairs.bit_count())
        stakes = min(records, round(_BITS * math.log(_BITS / unset)))
        for number, bet in enumerate(_BETS):
            # What was won in a long drift is not to outlast it by as long.
            won = self._wealth[number] + stakes * bet.gain(hits[number] / records)
            self._wealth[number] = min(max(won, 0.0), 2.0 * _TOLD)
        was = self.is_told
        self.is_told = max(self._wealth) >= (_OVER if was else _TOLD)
        return was != self.is_told
