"""From captures to flows: the pipeline's first stage, loading no more than it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kshot.flows import FlowMeter
from kshot.sources.compressed import STDIN
from kshot.sources.pcap import CaptureReader

OnProgress = Callable[[int], None]
"""Called with the bytes read so far of the capture at hand."""

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


def meter(
    paths: Sequence[str | Path],
    options: MeterOptions,
    on_progress: OnProgress | None = None,
    metering: Metering | None = None,
) -> Iterator[pl.DataFrame]:
    """Meter captures into flow frames (FLOW_SCHEMA), batch by batch; `metering` is filled on the way.

    Captures that follow each other in time are one stream, so that a flow may begin in one file and end in the next.

    Raises:
        InputError: a file is no capture or cannot be read.
    """
    for stretch in stretches(paths, options, on_progress, metering if metering is not None else Metering()):
        yield from stretch


def stretches(
    paths: Sequence[str | Path], options: MeterOptions, on_progress: OnProgress | None, metering: Metering
) -> Iterator[Iterator[pl.DataFrame]]:
    """Give an iterator of flow frames for each stretch of captures that follow each other in time."""
    for path in paths:
        # A wrong file among many is better told before an hour of metering; a pipe can be read only once.
        if str(path) != STDIN and not Path(path).is_fifo():
            with CaptureReader(path):
                pass
    state = _Stretching(list(paths), options, on_progress, metering)
    while state.left:
        yield state.stretch()


class _Stretching:
    """Walks through captures; a meter lives as long as the next capture goes on where the last one ended."""

    def __init__(
        self, left: list[str | Path], options: MeterOptions, on_progress: OnProgress | None, metering: Metering
    ) -> None:
        self.left = left
        self._options = options
        self._on_progress = on_progress
        self._metering = metering
        self._end_nanoseconds: int | None = None

    def stretch(self) -> Iterator[pl.DataFrame]:
        meter = FlowMeter(
            idle_timeout_seconds=self._options.idle_timeout_seconds,
            active_timeout_seconds=self._options.active_timeout_seconds,
            tunnels=self._options.tunnels,
        )
        self._end_nanoseconds = None
        while self.left and self._follows(self.left[0]):
            path = self.left.pop(0)
            report = CaptureReport(str(path))
            self._metering.captures.append(report)
            with CaptureReader(path, on_progress=self._on_progress) as reader:
                for batch in reader:
                    meter.push(batch)
                    if len(batch):
                        self._end_nanoseconds = int(batch.times_nanoseconds[-1])
                    yield from meter.drain()
                report.packets_read, report.damage = reader.packets_read, reader.damage
        yield from meter.finish()
        for name in COUNTERS:
            self._metering.counters[name] += int(getattr(meter.counters, name))

    def _follows(self, path: str | Path) -> bool:
        """Whether the capture's first packet comes within an idle timeout after the last one seen."""
        if self._end_nanoseconds is None:
            return True
        if str(path) == STDIN or Path(path).is_fifo():
            return False
        first = _first_time(path)
        gap = self._options.idle_timeout_seconds * 1e9
        return first is not None and -1e9 <= first - self._end_nanoseconds <= gap


def _first_time(path: str | Path) -> int | None:
    with CaptureReader(path) as reader:
        for batch in reader:
            if len(batch):
                return int(batch.times_nanoseconds[0])
    return None
