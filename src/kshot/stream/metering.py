"""What a metering run is told and what it reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

COUNTERS = ("packets_read", "metered", "non_ip", "malformed", "truncated", "shed", "flows", "evicted")
"""packets_read = metered + non_ip + malformed + truncated + shed, for every input."""


@dataclass(frozen=True, slots=True)
class MeterOptions:
    """The meter flags that every verb shares."""

    idle_timeout_seconds: float = 120.0
    """A flow silent for so long has ended."""
    active_timeout_seconds: float = 1800.0
    """A flow is cut into slices of at most so long."""
    tunnels: bool = True
    """Unwrap GRE, IP-in-IP, VXLAN and GTP-U."""


@dataclass(slots=True)
class CaptureReport:
    """One capture of a run."""

    path: str
    packets_read: int = 0
    damage: str | None = None
    """One line: where it stopped and why; None when it was whole."""


@dataclass(slots=True)
class Metering:
    """Filled while flows are taken from `meter`; complete when they are exhausted."""

    counters: Counter[str] = field(default_factory=Counter)
    """The names of `COUNTERS`, summed over all captures."""
    captures: list[CaptureReport] = field(default_factory=list)

    @property
    def damage(self) -> list[str]:
        """A line for each capture that was not whole."""
        return [report.damage for report in self.captures if report.damage]
