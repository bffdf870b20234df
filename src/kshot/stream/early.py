"""Verdicts on flows that are still open, so that an alert need not wait for their end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import polars as pl

from kshot.features import FeatureExtractor

_MOST_TOLD = 65_536
Flow = tuple[str, int, int, int]


class EarlyVerdicts:
    """Remembers hosts by the flows that were looked at, and which of these have alarmed.

    The features of a flow that is judged early have a memory of their own, of flows as they were looked at: what is
    judged at its end is judged as if nobody had looked, and gets the verdict that a scan would give.
    """

    def __init__(self) -> None:
        self.looked = 0
        """Flows judged while they were open."""
        self.alarms = 0
        self._extractor = FeatureExtractor()
        self._told: OrderedDict[Flow, str] = OrderedDict()

    def features(self, flows: pl.DataFrame) -> pl.DataFrame:
        """Of flows that are still open."""
        self.looked += flows.height
        return self._extractor.transform(flows)

    def untold(self, flows: pl.DataFrame, alarms: pl.DataFrame, *, are_open: bool) -> pl.DataFrame:
        """The alarms (`alarms_of`) of flows that have not alarmed for the same threat before.

        are_open: remember these; a flow that has ended is forgotten.
        """
        if not are_open and not self._told:
            return alarms  # logs tell of flows that have ended, and not which slice
        keep = []
        for flow, threat in zip(_flows(flows, alarms), alarms["threat"], strict=True):
            keep.append(self._told.get(flow) != threat)
            if are_open:
                self._told[flow] = threat
        while len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)
        fresh = alarms.filter(pl.Series(keep, dtype=pl.Boolean))
        self.alarms += fresh.height if are_open else 0
        return fresh


def _flows(flows: pl.DataFrame, alarms: pl.DataFrame) -> Iterator[Flow]:
    """What a flow is known again by when it ends."""
    chosen = flows[alarms["at"].to_list()]
    yield from chosen.select("community_id", pl.col("first_time").cast(pl.Int64), "vlan", "slice").iter_rows()
