"""The meter: batches of frames in, frames of finished flows out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import DTypeLike, NDArray

from kshot.errors import InternalError, UserError
from kshot.flows.ending import end_all, let_time_pass
from kshot.flows.export import flow_frame
from kshot.flows.fields import FIELDS
from kshot.flows.layout import (
    C_EVICTED,
    C_FLOWS,
    C_MALFORMED,
    C_METERED,
    C_NON_IP,
    C_ROWS_USED,
    C_SHED,
    C_TRUNCATED,
    LATEST_NANOSECONDS,
    SECOND,
)
from kshot.flows.looking import look
from kshot.flows.pools import Arena, make_arena
from kshot.flows.table import BLOCK_FRAMES, meter_frames
from kshot.records.frames import FrameBatch

LEAST_MEMORY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class MeterCounters:
    """Where every frame has gone: packets_read = metered + non_ip + malformed + truncated + shed, at all times."""

    packets_read: int
    """Frames pushed."""
    metered: int
    """Counted in a flow."""
    non_ip: int
    """Sound, but carrying no IP that we read."""
    malformed: int
    """A header contradicts itself or its surroundings."""
    truncated: int
    """The snap length cut a header that the 5-tuple needs."""
    shed: int
    """Dropped by policy; never when reading files."""
    flows: int
    """Flow records finished."""
    evicted: int
    """Of these, how many had to make room for others."""


def _as(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """`values` as the one array type that the kernel is compiled for, copied only where it must be."""
    if values.dtype == dtype and values.flags.carray:
        return values
    return np.require(values, dtype, ["C", "A", "W"])


class FlowMeter:
    """Bidirectional flows by 5-tuple, VLAN and tunnel, within a fixed amount of memory.

    >>> from kshot.flows import FlowMeter
    >>> meter = FlowMeter(idle_timeout_seconds=60.0)
    >>> [frame.height for frame in meter.finish()], meter.counters.packets_read
    ([], 0)

    idle_timeout_seconds: silence that ends a flow. active_timeout_seconds: after so long a flow is written as one slice
    and goes on as the next. tunnels: meter what GRE, IP-in-IP, VXLAN and GTP-U carry rather than the tunnel.
    memory_bytes: all that the flow table may take; when it is used up, half-open one-packet flows go first, then
    flows of few packets, the longest silent of each.

    A TCP connection is over at its second FIN or first RST; stragglers of the next five seconds still join it, a SYN
    opens a new flow. The originator sent the first SYN (among the first three packets), else the first packet.
    All times are packet times.
    """

    def __init__(
        self,
        *,
        idle_timeout_seconds: float = 120.0,
        active_timeout_seconds: float = 1800.0,
        tunnels: bool = True,
        memory_bytes: int = 192 * 2**20,
    ) -> None:
        self.idle_timeout_seconds = idle_timeout_seconds
        self.active_timeout_seconds = active_timeout_seconds
        self.tunnels = tunnels
        self.memory_bytes = memory_bytes
        self._arena: Arena | None = None
        self._fields = np.zeros(BLOCK_FRAMES * FIELDS, np.int64)
        self._frames: list[pl.DataFrame] = []

    def _opened(self) -> Arena:
        if self._arena is None:
            for name in ("idle_timeout_seconds", "active_timeout_seconds"):
                seconds = getattr(self, name)
                if not (math.isfinite(seconds) and 0 < seconds <= LATEST_NANOSECONDS / SECOND):
                    raise UserError(f"{name} must be a number of seconds above 0, not {seconds}")
            if self.memory_bytes < LEAST_MEMORY_BYTES:
                raise UserError(f"memory_bytes must be at least {LEAST_MEMORY_BYTES}, not {self.memory_bytes}")
            self._arena = make_arena(
                int(self.memory_bytes),
                idle_nanoseconds=round(self.idle_timeout_seconds * SECOND),
                active_nanoseconds=round(self.active_timeout_seconds * SECOND),
                unwrap=self.tunnels,
                # Python's own secret of this process: nobody outside can aim at one place of the table.
                seed=hash("the flow table"),
            )
        return self._arena

    def push(self, batch: FrameBatch) -> None:
        """Meter a batch; what is finished by it waits for `drain`.

        Raises `UserError` on the first call if a setting makes no sense.
        """
        arena = self._opened()
        n = len(batch)
        if n == 0:
            return
        buffer = _as(batch.buffer, np.uint8)
        offsets = _as(batch.offsets, np.int64)
        captured = _as(batch.captured_bytes, np.int32)
        others = (
            _as(batch.wire_bytes, np.int32),
            _as(batch.times_nanoseconds, np.int64),
            _as(batch.link_types, np.int32),
        )
        if any(len(values) != n for values in (captured, *others)):
            raise InternalError("frame batch: its arrays differ in length")
        if offsets.min() < 0 or captured.min() < 0 or (offsets + captured).max() > len(buffer):
            raise InternalError("frame batch: a frame lies outside its buffer")
        done = 0
        while done < n:
            done = meter_frames(*arena, self._fields, buffer, offsets, captured, *others, done)
            if done < n:
                self._frames.append(flow_frame(arena))

    def advance(self, nanoseconds: int) -> None:
        """Let so much time pass without a packet: flows that are over by then wait for `drain`.

        For a live caller while the wire is silent; packets that come later must not be of an earlier time.
        """
        arena = self._opened()
        while not let_time_pass(*arena, max(0, nanoseconds)):
            nanoseconds = 0
            self._frames.append(flow_frame(arena))

    def look(self) -> pl.DataFrame:
        """Flows that are still open, as they are by now: those that fell silent or grow old, each at most three times.

        In the order of their last packets. They go on, and come out of `drain` when they end.
        """
        arena = self._opened()
        if arena.words[C_ROWS_USED]:
            self._frames.append(flow_frame(arena))
        look(*arena)
        return flow_frame(arena).sort("last_time", maintain_order=True)

    @property
    def pending(self) -> int:
        """How many finished flows wait for `drain`."""
        waiting = 0 if self._arena is None else int(self._arena.words[C_ROWS_USED])
        return waiting + sum(frame.height for frame in self._frames)

    def drain(self, at_least: int = 16_384) -> Iterator[pl.DataFrame]:
        """Yield the finished flows as frames of FLOW_SCHEMA, at most 65,536 rows each, in the order they ended.

        Nothing is yielded while fewer than `at_least` wait, so that it may be called after every push: small frames
        are dear. A live caller that wants them at once says 1.
        """
        if self._arena is None or self.pending < max(1, at_least):
            return
        frames, self._frames = self._frames, []
        yield from frames
        if self._arena.words[C_ROWS_USED]:
            yield flow_frame(self._arena)

    def finish(self) -> Iterator[pl.DataFrame]:
        """End every open flow and yield all that was not drained; the meter can then be used anew."""
        arena = self._opened()
        yield from self.drain(1)
        while not end_all(*arena):
            yield flow_frame(arena)
        yield from self.drain(1)

    @property
    def counters(self) -> MeterCounters:
        """The accounting so far."""
        if self._arena is None:
            return MeterCounters(0, 0, 0, 0, 0, 0, 0, 0)
        words = self._arena.words
        verdicts = words[C_METERED : C_SHED + 1]
        return MeterCounters(
            packets_read=int(verdicts.sum()),
            metered=int(words[C_METERED]),
            non_ip=int(words[C_NON_IP]),
            malformed=int(words[C_MALFORMED]),
            truncated=int(words[C_TRUNCATED]),
            shed=int(words[C_SHED]),
            flows=int(words[C_FLOWS]),
            evicted=int(words[C_EVICTED]),
        )
