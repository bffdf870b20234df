"""A live interface becomes flows, metered as the packets come."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from kshot.flows import FlowMeter
from kshot.records.flows import FLOW_SCHEMA
from kshot.records.streams import Bookmark, Piece
from kshot.sources.interface import LiveInterface
from kshot.stream.metering import COUNTERS, MeterOptions

PIECE_SECONDS = 0.1
"""Flows that have ended wait no longer to be given."""
LOOK_SECONDS = 0.25
"""Between two looks at open flows."""
_PIECE_FLOWS = 4_096
_YIELD = 10
"""By how much the other threads are nicer (setpriority(2)): a tenth of the time where both want a core."""

_SWITCH_SECONDS = 5e-4
"""Whoever holds the interpreter lets go of it so soon: by default the reader waits ten times as long, at each call."""


class FollowedInterface:
    """The flows of an interface, as they end.

    What passes while nobody listens is lost, and so are the flows that were open when the process was killed: the
    bookmark only counts. Time is the packets' own; while none come it goes on as the machine's steady clock does, so
    that a flow ends though nothing follows it, and a step of the wall clock ends nothing.
    """

    def __init__(self, interface: LiveInterface, options: MeterOptions, *, early: bool = False) -> None:
        """early: look at open flows too."""
        self._interface = interface
        self._early = early
        self._meter = FlowMeter(
            idle_timeout_seconds=options.idle_timeout_seconds,
            active_timeout_seconds=options.active_timeout_seconds,
            tunnels=options.tunnels,
        )
        self.ended = False
        self._moment = time.monotonic_ns()
        """Of the steady clock: up to here the meter's clock has gone on."""
        self._next_look = 0.0
        self._goes_first = False

    @property
    def name(self) -> str:
        """See `FollowedSource`."""
        return self._interface.name

    @property
    def backlog_bytes(self) -> int:
        """See `FollowedSource`: of the ring."""
        return self._interface.waiting_bytes

    def resume(self, bookmark: Bookmark | None) -> None:
        """See `FollowedSource`; there is nothing to go back to."""
        self._interface.start()

    def read(self) -> Piece | None:
        """See `FollowedSource`; waits up to `PIECE_SECONDS`."""
        if not self._goes_first:
            self._goes_first = True
            put_this_thread_first()
        until = time.monotonic() + PIECE_SECONDS
        while True:
            left = until - time.monotonic()
            if self._meter.pending >= _PIECE_FLOWS or left <= 0:
                return self._piece()
            frames = self._interface.batch(left)
            now = time.monotonic_ns()
            if frames is not None:
                self._meter.push(frames)
            else:
                # Nothing waits in the ring, so no packet can be of an earlier time.
                self._meter.advance(now - self._moment)
            self._moment = now

    def rest(self) -> Iterator[Piece]:
        """Hear no more, and give what was heard: the flows that are still open too."""
        self._interface.stop()
        self._early = False  # all of them end now
        while (frames := self._interface.rest()) is not None:
            self._meter.push(frames)
            if self._meter.pending >= _PIECE_FLOWS and (piece := self._piece()) is not None:
                yield piece
        for frame in self._meter.finish():
            yield Piece(frame, self._bookmark())
        self.ended = True

    def _piece(self) -> Piece | None:
        early = None
        if self._early and time.monotonic() >= self._next_look:
            early = self._meter.look()
            self._next_look = time.monotonic() + LOOK_SECONDS
            early = early if early.height else None
        frames = list(self._meter.drain(1))
        if not frames and early is None:
            return None
        return Piece(pl.concat(frames) if frames else pl.DataFrame(schema=FLOW_SCHEMA), self._bookmark(), early)

    def _bookmark(self) -> Bookmark:
        return Bookmark(json.dumps({"packets": self._meter.counters.packets_read}))

    def problems(self) -> list[str]:
        """See `FollowedSource`; also that the interface went, and came back."""
        return self._interface.problems()

    def counters(self) -> dict[str, int]:
        """See `FollowedSource`: what became of every packet."""
        meter = self._meter.counters
        return {**self._interface.counters(), **{name: int(getattr(meter, name)) for name in COUNTERS}}

    def close(self) -> None:
        """See `FollowedSource`."""
        self._interface.close()


def put_this_thread_first() -> None:
    """Let all other threads of the process yield to this one: judging can wait, the wire does not."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    own = threading.get_native_id()
    for task in Path("/proc/self/task").iterdir():
        # One may have ended meanwhile; and one that yields already, yields no more.
        with contextlib.suppress(OSError):
            if int(task.name) != own:
                os.setpriority(os.PRIO_PROCESS, int(task.name), os.getpriority(os.PRIO_PROCESS, 0) + _YIELD)
