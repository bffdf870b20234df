"""Segments of a network: each record is judged by the detector of its own segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import UserError
from kshot.records.kept import Label
from kshot.stream.standing import StandingDetector, Verdicts

REST = ""
"""The name of what lies in no segment."""
COLUMN = "kshot.segment"
"""Beside the features of late records: the segment of each."""
Names = NDArray[np.object_]
_MOST_REMEMBERED = 1 << 16
"""Addresses whose segment is not looked up again."""


class Segments:
    """Networks by segment; the most specific network that holds an address says where it lies.

    >>> flows = pl.DataFrame({"originator": ["10.1.0.7", "10.2.0.7", "8.8.8.8"], "responder": ["8.8.8.8"] * 3})
    >>> Segments({"servers": ["10.0.0.0/8"], "cameras": ["10.2.0.0/16"]}).of(flows).tolist()
    ['servers', 'cameras', '']
    """

    def __init__(self, networks: Mapping[str, Sequence[str]]) -> None:
        """Raises `UserError`: what is no network, or a network that two segments have."""
        self.networks = {name: tuple(told) for name, told in networks.items()}
        """By segment, as they were told."""
        self._by_length: dict[tuple[int, int], dict[int, str]] = {}
        for name, told in self.networks.items():
            for text in told:
                network = _network(name, text)
                of_length = self._by_length.setdefault((network.version, network.prefixlen), {})
                at = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
                if of_length.setdefault(at, name) != name:
                    raise UserError(f"network {network} is in segment {of_length[at]} and in {name}; give it to one")
        self._longest_first = sorted(self._by_length.items(), reverse=True)
        self._segment = lru_cache(_MOST_REMEMBERED)(self._look_up)

    def of(self, flows: pl.DataFrame) -> Names:
        """(n,) the segment of each record's originator, of its responder where that lies in none; else `REST`."""
        sides = [flows[side].fill_null("") for side in ("originator", "responder")]
        known = {address: self._segment(address) for side in sides for address in side.unique().to_list()}
        pairs = zip(*(side.to_list() for side in sides), strict=True)
        return np.array([known[originator] or known[responder] for originator, responder in pairs], dtype=object)

    def _look_up(self, text: str) -> str:
        try:
            address: IPv4Address | IPv6Address = ip_address(text)
        except ValueError:
            return REST
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        for (version, length), names in self._longest_first:
            if version == address.version:
                name = names.get(int(address) >> (address.max_prefixlen - length))
                if name is not None:
                    return name
        return REST


def _network(name: str, text: str) -> IPv4Network | IPv6Network:
    """What a network's text says. Raises `UserError`."""
    try:
        return ip_network(text)
    except ValueError:
        try:
            meant = f"do you mean {ip_network(text, strict=False)}?"
        except ValueError:
            meant = "give one such as 10.1.0.0/16 or fd00:1::/32"
        raise UserError(f"segment {name}: {text!r} is no network; {meant}") from None


class SegmentedDetector:
    """A detector a segment, and one for the rest: each record is judged by that of its own."""

    def __init__(self, segments: Segments, detectors: Mapping[str, StandingDetector]) -> None:
        """`detectors`: by segment, and under `REST` what judges all others."""
        self._segments = segments
        self._detectors = dict(detectors)
        self.attack = {name: ids for one in detectors.values() for name, ids in one.attack.items()}
        """Technique ids by threat."""
        self.rate = max(one.rate for one in detectors.values())
        """The greatest false-alarm rate that is kept in any segment."""
        self.notes = list(_notes(self._detectors))
        """Lines for the user: those of all segments once, the others with the segment's name."""

    def relabelled(self, labels: Sequence[Label]) -> SegmentedDetector:
        """The same detectors, taught by these labels and no others."""
        taught = {
            name: one.relabelled(labels_in(name, labels, self._detectors)) for name, one in self._detectors.items()
        }
        return SegmentedDetector(self._segments, taught)

    def judge(self, features: pl.DataFrame, flows: pl.DataFrame) -> Verdicts:
        """Judge n records; `flows` tells who spoke to whom."""
        segment = self._segments.of(flows)
        n = features.height
        threat, score, p_value = np.full(n, "", dtype=object), np.zeros(n), np.full(n, np.nan)
        alarm, harmless, loudness = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n)
        has_loudness = True
        muted = 0
        told: dict[str, tuple[NDArray[np.intp], Callable[[Sequence[int]], list[list[str]]]]] = {}
        for name in dict.fromkeys(segment.tolist()):
            rows = np.flatnonzero(segment == name)
            one = self._detectors[name].judge(features[rows])
            threat[rows], score[rows], p_value[rows], alarm[rows] = one.threat, one.score, one.p_value, one.alarm
            muted += one.muted
            told[name] = rows, one.explain
            if one.harmless is not None:
                harmless[rows] = one.harmless
            if one.loudness is None:
                has_loudness = False
            else:
                loudness[rows] = one.loudness

        def explain(asked: Sequence[int]) -> list[list[str]]:
            reasons: dict[int, list[str]] = {}
            for name, (rows, of_segment) in told.items():
                mine = [row for row in asked if segment[row] == name]
                if mine:
                    reasons.update(zip(mine, of_segment(np.searchsorted(rows, mine).tolist()), strict=True))
            return [reasons[row] for row in asked]

        loud = loudness if has_loudness else None
        return Verdicts(threat, score, p_value, alarm, muted, explain, harmless, loud, segment)


def labels_in(name: str, labels: Sequence[Label], names: Mapping[str, object]) -> list[Label]:
    """Those of `labels` that a segment learns from: of what is harmless, its own and those of no segment now known.

    What an attack is does not depend on the segment; what is normal does.
    """
    return [one for one in labels if one.verdict == "malicious" or one.segment not in names or one.segment == name]


def late_of(name: str, late: pl.DataFrame) -> pl.DataFrame | None:
    """Features of those late records that lie in a segment; None where there are none, or they do not tell."""
    if COLUMN not in late.columns:
        return None
    mine = late.filter(pl.col(COLUMN) == name).drop(COLUMN)
    return mine if mine.height else None


def _notes(detectors: Mapping[str, StandingDetector]) -> Iterator[str]:
    every = [set(one.notes) for one in detectors.values()]
    said_by_all = set.intersection(*every)
    yield from (note for note in next(iter(detectors.values())).notes if note in said_by_all)
    least = min(one.rate for one in detectors.values())
    for name, one in detectors.items():
        whose = f"segment {name}" if name != REST else "outside the segments"
        yield from (f"{whose}: {note}" for note in one.notes if note not in said_by_all)
        if one.rate > least:
            yield f"{whose}: a false-alarm rate of {one.rate:.2g} is attainable with its reference, and kept"
