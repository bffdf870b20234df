"""Captures dropped into a folder become flows, each capture metered by itself."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import polars as pl

from kshot.errors import InputError
from kshot.flows import FlowMeter
from kshot.records.flows import FLOW_SCHEMA
from kshot.records.streams import Bookmark, Piece
from kshot.sources.capture_folder import CaptureFolder
from kshot.sources.pcap import CaptureReader
from kshot.stream.metering import COUNTERS, MeterOptions

_PIECE_FLOWS = 4_096


class FollowedCaptures:
    """The flows of whole captures, in the order of their first packets; each capture is metered by itself.

    A bookmark within a capture counts the flows given: the capture is metered again and these are left out.
    """

    def __init__(self, folder: CaptureFolder, options: MeterOptions) -> None:
        self._folder = folder
        self._options = options
        self.name = f"captures:{folder.folder.absolute()}"
        self.ended = False
        self._flows: Iterator[pl.DataFrame] | None = None
        self._current = ""
        self._given = 0
        self._skip = 0
        self._counters: Counter[str] = Counter(dict.fromkeys(COUNTERS, 0))
        self._problems: list[str] = []

    def resume(self, bookmark: Bookmark | None) -> None:
        """See `FollowedSource`."""
        place = json.loads(bookmark.position) if bookmark is not None else {}
        self._folder.resume(place.get("done"))
        self._current, self._skip = str(place.get("current", "")), int(place.get("given", 0))

    @property
    def backlog_bytes(self) -> int:
        """See `FollowedSource`."""
        return self._folder.backlog_bytes

    def read(self) -> Piece | None:
        """See `FollowedSource`."""
        while True:
            if self._flows is None and not self._begin():
                return None
            assert self._flows is not None
            frame = next(self._flows, None)
            if frame is None:
                self._end()
                return Piece(pl.DataFrame(schema=FLOW_SCHEMA), self._bookmark())
            left_out = min(self._skip - self._given, frame.height) if self._given < self._skip else 0
            self._given += frame.height
            if left_out < frame.height:
                return Piece(frame[left_out:], self._bookmark())

    def _begin(self) -> bool:
        """Start on the next capture; False while there is none."""
        path = self._folder.named(self._current) if self._current else self._folder.next()
        if path is None and self._current:
            self._problems.append(f"{self._current}: is gone; the flows after its first {self._skip:,} are lost")
            self._current, self._skip = "", 0
            path = self._folder.next()
        if path is None:
            return False
        self._current, self._given = path.name, 0
        self._flows = self._meter()
        return True

    def _meter(self) -> Iterator[pl.DataFrame]:
        path = self._folder.folder / self._current
        meter = FlowMeter(
            idle_timeout_seconds=self._options.idle_timeout_seconds,
            active_timeout_seconds=self._options.active_timeout_seconds,
            tunnels=self._options.tunnels,
        )
        try:
            with CaptureReader(path) as reader:
                for batch in reader:
                    meter.push(batch)
                    yield from meter.drain(_PIECE_FLOWS)
                if reader.damage:
                    self._problems.append(reader.damage)
            yield from meter.finish()
        except InputError as error:
            self._problems.append(f"{error}; what it held is left out")
        for name in COUNTERS:
            self._counters[name] += int(getattr(meter.counters, name))

    def _end(self) -> None:
        self._folder.finish(self._folder.folder / self._current)
        self._flows, self._current, self._given, self._skip = None, "", 0, 0

    def _bookmark(self) -> Bookmark:
        given = max(self._given, self._skip)
        place = {"done": self._folder.place(), "current": self._current, "given": given}
        return Bookmark(json.dumps(place))

    def problems(self) -> list[str]:
        """See `FollowedSource`."""
        told = [*self._problems, *self._folder.problems]
        self._problems.clear()
        self._folder.problems.clear()
        return told

    def counters(self) -> dict[str, int]:
        """See `FollowedSource`; packets of captures that were metered to their end."""
        return dict(self._counters)

    def close(self) -> None:
        """See `FollowedSource`."""
        self._flows = None
