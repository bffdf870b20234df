"""What is remembered of hosts and pairs between flows: fixed arrays, so that no flood can make them grow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit

WAYS = 8
"""Places that a key may take: one cache line of keys."""
BRIEF = 4
"""Connections kept of a host that has had no more; a flood of strangers costs no more than this each."""
RECENT = 100
"""Connections kept of a host with more than `BRIEF`."""
PAIR_RECENT = 12
"""Gaps and sizes kept of a pair of hosts and a port."""
HOSTS = 1 << 16
RINGS = 1 << 13
PAIRS = 1 << 16
SEEN = 1 << 17
SEVERAL, MANY = 2, 5
SEVERAL_WORTH_ROWS, MANY_WORTH_ROWS = 1 << 20, 1 << 22
"""Whoever came back is kept as if seen that many flows later, so that a flood of strangers pushes out strangers; and
no longer, so that what is gone for good makes room."""


class Hosts(NamedTuple):
    """Recent connections by host, most of them few; arrays in step."""

    keys: NDArray[np.int64]
    """(hosts,) 0 where free."""
    rows: NDArray[np.int64]
    """(hosts,) number of the flow that touched it last."""
    totals: NDArray[np.int64]
    """(hosts,) connections since it is known."""
    stored: NDArray[np.int64]
    """(hosts,) connections written to its place, older ones overwritten in turn."""
    rings: NDArray[np.int64]
    """(hosts,) its ring of `RECENT`, or -1: it has only its `BRIEF` places."""
    owners: NDArray[np.int64]
    """(rings + 1,) host of each ring or -1; the last is the hand that looks for a ring to take."""
    times: NDArray[np.int64]
    """(places,) first packet's nanoseconds of a connection."""
    peers: NDArray[np.int32]
    """(places,) the other end's key, shortened."""
    ports: NDArray[np.int32]
    """(places,) protocol * 65536 + responder's port."""
    marks: NDArray[np.int32]
    """(places,) service * 4 + rejected * 2 + unanswered."""


class Pairs(NamedTuple):
    """Rhythm and sizes by originator, responder and port; arrays in step."""

    keys: NDArray[np.int64]
    rows: NDArray[np.int64]
    totals: NDArray[np.int64]
    first_times: NDArray[np.int64]
    last_times: NDArray[np.int64]
    gaps: NDArray[np.float32]
    """(pairs, PAIR_RECENT) seconds between connections, gap g at g modulo PAIR_RECENT."""
    sizes: NDArray[np.float32]
    """(pairs, 2, PAIR_RECENT) IP bytes of the originator and the responder, connection c at c modulo PAIR_RECENT."""


class Seen(NamedTuple):
    """Keys that came by, for what asks no more than whether."""

    keys: NDArray[np.int64]
    rows: NDArray[np.int64]
    totals: NDArray[np.int64]


class Counts(NamedTuple):
    """What is counted over the whole network."""

    ports: NDArray[np.int64]
    """(3 * 65536,) flows to each responder port of TCP, UDP and all else."""
    services: NDArray[np.int64]
    """(256,) flows of each service."""
    clock: NDArray[np.int64]
    """(2,) flows so far, and the first one's nanoseconds."""


class Memory(NamedTuple):
    """All that an extractor remembers, some 60 MB at the sizes of this file."""

    originators: Hosts
    responders: Hosts
    pairs: Pairs
    seen: Seen
    counts: Counts


def new_hosts(hosts: int = HOSTS, rings: int = RINGS) -> Hosts:
    """Make an empty memory of `hosts` hosts (a power of two), `rings` of which have many connections."""
    places = hosts * BRIEF + rings * RECENT
    owners = np.full(rings + 1, -1, np.int64)
    owners[-1] = 0
    return Hosts(
        keys=np.zeros(hosts, np.int64),
        rows=np.zeros(hosts, np.int64),
        totals=np.zeros(hosts, np.int64),
        stored=np.zeros(hosts, np.int64),
        rings=np.full(hosts, -1, np.int64),
        owners=owners,
        times=np.zeros(places, np.int64),
        peers=np.zeros(places, np.int32),
        ports=np.zeros(places, np.int32),
        marks=np.zeros(places, np.int32),
    )


def new_memory(hosts: int = HOSTS, rings: int = RINGS, pairs: int = PAIRS, seen: int = SEEN) -> Memory:
    """Make an empty memory; the counts are powers of two, at least 8, and bound it for good."""
    return Memory(
        originators=new_hosts(hosts, rings),
        responders=new_hosts(hosts, rings),
        pairs=Pairs(
            keys=np.zeros(pairs, np.int64),
            rows=np.zeros(pairs, np.int64),
            totals=np.zeros(pairs, np.int64),
            first_times=np.zeros(pairs, np.int64),
            last_times=np.zeros(pairs, np.int64),
            gaps=np.zeros((pairs, PAIR_RECENT), np.float32),
            sizes=np.zeros((pairs, 2, PAIR_RECENT), np.float32),
        ),
        seen=Seen(keys=np.zeros(seen, np.int64), rows=np.zeros(seen, np.int64), totals=np.zeros(seen, np.int64)),
        counts=Counts(
            ports=np.zeros(3 * 65536, np.int64), services=np.zeros(256, np.int64), clock=np.zeros(2, np.int64)
        ),
    )


@njit
def find(keys: Any, key: int) -> int:
    """Return where `key` lies in `keys`, or -1."""
    begin = (key & ((len(keys) // WAYS) - 1)) * WAYS
    for slot in range(begin, begin + WAYS):
        if keys[slot] == key:
            return slot
    return -1


@njit
def claim(keys: Any, rows: Any, totals: Any, key: int) -> int:
    """Return which of its places `key`, which is not in `keys`, shall take: a free one, or the one least worth."""
    begin = (key & ((len(keys) // WAYS) - 1)) * WAYS
    best, least = begin, np.int64(1) << 62
    for slot in range(begin, begin + WAYS):
        if keys[slot] == 0:
            return slot
        worth = rows[slot]
        if totals[slot] >= MANY:
            worth += MANY_WORTH_ROWS
        elif totals[slot] >= SEVERAL:
            worth += SEVERAL_WORTH_ROWS
        if worth < least:
            best, least = slot, worth
    return best


@njit
def remember_seen(seen: Any, key: int, row: int) -> None:
    """Note that `key` came by at flow number `row`."""
    slot = find(seen.keys, key)
    if slot < 0:
        slot = claim(seen.keys, seen.rows, seen.totals, key)
        seen.keys[slot] = key
        seen.totals[slot] = 0
    seen.rows[slot] = row
    seen.totals[slot] += 1


@njit
def _take_ring(hosts: Any) -> int:
    """Return a ring: a free one, or of the next few the one whose host was silent longest, which loses it."""
    rings = len(hosts.owners) - 1
    best, least = 0, np.int64(1) << 62
    for _ in range(WAYS):
        ring = hosts.owners[rings]
        hosts.owners[rings] = (ring + 1) % rings
        owner = hosts.owners[ring]
        if owner < 0:
            return int(ring)
        if hosts.rows[owner] < least:
            best, least = int(ring), hosts.rows[owner]
    loser = hosts.owners[best]
    hosts.rings[loser] = -1
    hosts.stored[loser] = 0
    return best


@njit
def remember_host(hosts: Any, key: int, row: int, time: int, peer: int, port: int, mark: int) -> None:
    """Note one connection of host `key`."""
    slot = find(hosts.keys, key)
    if slot < 0:
        slot = claim(hosts.keys, hosts.rows, hosts.totals, key)
        if hosts.rings[slot] >= 0:
            hosts.owners[hosts.rings[slot]] = -1
            hosts.rings[slot] = -1
        hosts.keys[slot] = key
        hosts.totals[slot] = 0
        hosts.stored[slot] = 0
    first_ring = len(hosts.keys) * BRIEF
    if hosts.rings[slot] < 0 and hosts.stored[slot] == BRIEF:
        hosts.rows[slot] = row
        ring = _take_ring(hosts)
        hosts.rings[slot] = ring
        hosts.owners[ring] = slot
        begin, old = first_ring + ring * RECENT, slot * BRIEF
        for k in range(BRIEF):
            hosts.times[begin + k] = hosts.times[old + k]
            hosts.peers[begin + k] = hosts.peers[old + k]
            hosts.ports[begin + k] = hosts.ports[old + k]
            hosts.marks[begin + k] = hosts.marks[old + k]
    if hosts.rings[slot] < 0:
        place = slot * BRIEF + hosts.stored[slot]
    else:
        place = first_ring + hosts.rings[slot] * RECENT + hosts.stored[slot] % RECENT
    hosts.times[place] = time
    hosts.peers[place] = peer
    hosts.ports[place] = port
    hosts.marks[place] = mark
    hosts.rows[slot] = row
    hosts.totals[slot] += 1
    hosts.stored[slot] += 1


@njit
def remember_pair(pairs: Any, key: int, row: int, time: int, orig_bytes: float, resp_bytes: float) -> None:
    """Note one connection of the pair `key`."""
    slot = find(pairs.keys, key)
    if slot < 0:
        slot = claim(pairs.keys, pairs.rows, pairs.totals, key)
        pairs.keys[slot] = key
        pairs.totals[slot] = 0
        pairs.first_times[slot] = time
    else:
        pairs.gaps[slot, (pairs.totals[slot] - 1) % PAIR_RECENT] = abs(time - pairs.last_times[slot]) * 1e-9
    at = pairs.totals[slot] % PAIR_RECENT
    pairs.sizes[slot, 0, at] = orig_bytes
    pairs.sizes[slot, 1, at] = resp_bytes
    pairs.last_times[slot] = time
    pairs.rows[slot] = row
    pairs.totals[slot] += 1
