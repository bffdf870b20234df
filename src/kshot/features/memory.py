"""What is remembered of hosts and pairs between flows: fixed arrays, so that no flood can make them grow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit, njit_inline

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


ROW, TOTAL, STORED, RING = range(4)
"""Words of a host's head: number of the flow that touched it last, connections since it is known, how many of them
were written to its places, and its ring or -1."""
PAIR_LAST = 2
"""A pair's head has instead the nanoseconds when its last connection began."""
_PEER_AT, _PORT_AT, _SERVICE_AT = 28, 9, 3
_PEER_MASK, _PORT_MASK, _SERVICE_MASK = (1 << 30) - 1, (1 << 19) - 1, (1 << 6) - 1
TIME, WORD = range(2)
"""Words of a connection: its first packet's nanoseconds, and what `pack` makes of it."""


class Memory(NamedTuple):
    """All that an extractor remembers, some 60 MB; plain arrays, since numba counts references to nested ones."""

    orig_keys: NDArray[np.int64]
    """(hosts,) originators, 0 where free; places go by `claim`."""
    orig_heads: NDArray[np.int64]
    """(hosts, 4) ROW, TOTAL, STORED, RING."""
    orig_owners: NDArray[np.int64]
    """(rings + 1,) place of each ring's host or -1; the last is the hand that looks for a ring to take."""
    orig_connections: NDArray[np.int64]
    """(hosts * BRIEF + rings * RECENT, 2) TIME and WORD of what each host opened: the brief ones, then the rings."""
    resp_keys: NDArray[np.int64]
    resp_heads: NDArray[np.int64]
    resp_owners: NDArray[np.int64]
    resp_connections: NDArray[np.int64]
    pair_keys: NDArray[np.int64]
    """(pairs,) of originator, responder and port."""
    pair_heads: NDArray[np.int64]
    """(pairs, 3) ROW, TOTAL, PAIR_LAST."""
    pair_recent: NDArray[np.float32]
    """(pairs, 3, PAIR_RECENT) seconds between connections, IP bytes of either end; number c at c modulo PAIR_RECENT."""
    seen_keys: NDArray[np.int64]
    """(seen,) of whatever is asked no more than whether it came by."""
    seen_heads: NDArray[np.int64]
    """(seen, 2) ROW, TOTAL."""
    port_flows: NDArray[np.int64]
    """(3 * 65536,) recent flows to each responder port of TCP, UDP and all else."""
    service_flows: NDArray[np.int64]
    """(64,) recent flows of each service."""
    clock: NDArray[np.int64]
    """(3,) flows so far, the first one's nanoseconds, and how many of the flows are in the two counts above."""


def new_memory(hosts: int = HOSTS, rings: int = RINGS, pairs: int = PAIRS, seen: int = SEEN) -> Memory:
    """Make an empty memory; the sizes are powers of two, at least 8, and bound it for good."""
    places = hosts * BRIEF + rings * RECENT

    def words(*shape: int) -> NDArray[np.int64]:
        return np.zeros(shape, np.int64)

    owners = [np.full(rings + 1, -1, np.int64) for _ in range(2)]
    heads = [words(hosts, 4) for _ in range(2)]
    for side in range(2):
        owners[side][-1] = 0
        heads[side][:, RING] = -1
    return Memory(
        orig_keys=words(hosts),
        orig_heads=heads[0],
        orig_owners=owners[0],
        orig_connections=words(places, 2),
        resp_keys=words(hosts),
        resp_heads=heads[1],
        resp_owners=owners[1],
        resp_connections=words(places, 2),
        pair_keys=words(pairs),
        pair_heads=words(pairs, 3),
        pair_recent=np.zeros((pairs, 3, PAIR_RECENT), np.float32),
        seen_keys=words(seen),
        seen_heads=words(seen, 2),
        port_flows=words(3 * 65536),
        service_flows=words(64),
        clock=words(3),
    )


@njit_inline
def pack(peer: int, port: int, service: int, mark: int) -> int:
    """Make one word of a connection: the other end's key, shortened to 30 bits; kind of protocol * 65536 + responder's
    port; service; 2 * rejected + unanswered.
    """
    return ((peer & _PEER_MASK) << _PEER_AT) | (port << _PORT_AT) | (service << _SERVICE_AT) | mark


@njit_inline
def peer_of(word: int) -> int:
    """Return the shortened key of the other end."""
    return word >> _PEER_AT


@njit_inline
def port_of(word: int) -> int:
    """Return kind of protocol * 65536 + responder's port."""
    return (word >> _PORT_AT) & _PORT_MASK


@njit_inline
def service_of(word: int) -> int:
    """Return the service's id."""
    return (word >> _SERVICE_AT) & _SERVICE_MASK


@njit
def find(keys: Any, key: int) -> int:
    """Return where `key` lies in `keys`, or -1."""
    begin = (key & ((len(keys) // WAYS) - 1)) * WAYS
    for slot in range(begin, begin + WAYS):
        if keys[slot] == key:
            return slot
    return -1


@njit
def claim(keys: Any, heads: Any, key: int) -> int:
    """Return which of its places `key`, which is not in `keys`, shall take: a free one, or the one least worth."""
    begin = (key & ((len(keys) // WAYS) - 1)) * WAYS
    best, least = begin, np.int64(1) << 62
    for slot in range(begin, begin + WAYS):
        if keys[slot] == 0:
            return slot
        worth = heads[slot, ROW]
        if heads[slot, TOTAL] >= MANY:
            worth += MANY_WORTH_ROWS
        elif heads[slot, TOTAL] >= SEVERAL:
            worth += SEVERAL_WORTH_ROWS
        if worth < least:
            best, least = slot, worth
    return best


@njit
def remember_seen(keys: Any, heads: Any, key: int, row: int) -> None:
    """Note that `key` came by at flow number `row`."""
    slot = find(keys, key)
    if slot < 0:
        slot = claim(keys, heads, key)
        keys[slot] = key
        heads[slot, TOTAL] = 0
    heads[slot, ROW] = row
    heads[slot, TOTAL] += 1


@njit
def _take_ring(heads: Any, owners: Any) -> int:
    """Return a ring: a free one, or of the next few the one whose host was silent longest, which loses it."""
    rings = len(owners) - 1
    best, least = 0, np.int64(1) << 62
    for _ in range(WAYS):
        ring = owners[rings]
        owners[rings] = (ring + 1) % rings
        owner = owners[ring]
        if owner < 0:
            return int(ring)
        if heads[owner, ROW] < least:
            best, least = int(ring), heads[owner, ROW]
    loser = owners[best]
    heads[loser, RING] = -1
    heads[loser, STORED] = 0
    return best


@njit
def remember_host(
    keys: Any, heads: Any, owners: Any, connections: Any, key: int, row: int, time: int, word: int
) -> None:
    """Note one connection of host `key`, packed into `word`."""
    slot = find(keys, key)
    if slot < 0:
        slot = claim(keys, heads, key)
        if heads[slot, RING] >= 0:
            owners[heads[slot, RING]] = -1
            heads[slot, RING] = -1
        keys[slot] = key
        heads[slot, TOTAL] = 0
        heads[slot, STORED] = 0
    heads[slot, ROW] = row
    heads[slot, TOTAL] += 1
    stored = heads[slot, STORED]
    heads[slot, STORED] = stored + 1
    first_ring = len(keys) * BRIEF
    if heads[slot, RING] < 0 and stored == BRIEF:
        ring = _take_ring(heads, owners)
        heads[slot, RING] = ring
        owners[ring] = slot
        for k in range(BRIEF):
            for w in range(2):
                connections[first_ring + ring * RECENT + k, w] = connections[slot * BRIEF + k, w]
    place = slot * BRIEF + stored
    if heads[slot, RING] >= 0:
        place = first_ring + heads[slot, RING] * RECENT + stored % RECENT
    connections[place, TIME] = time
    connections[place, WORD] = word


@njit
def remember_pair(
    keys: Any, heads: Any, recent: Any, key: int, row: int, time: int, orig_bytes: float, resp_bytes: float
) -> None:
    """Note one connection of the pair `key`."""
    slot = find(keys, key)
    if slot < 0:
        slot = claim(keys, heads, key)
        keys[slot] = key
        heads[slot, TOTAL] = 0
    else:
        recent[slot, 0, (heads[slot, TOTAL] - 1) % PAIR_RECENT] = abs(time - heads[slot, PAIR_LAST]) * 1e-9
    at = heads[slot, TOTAL] % PAIR_RECENT
    recent[slot, 1, at] = orig_bytes
    recent[slot, 2, at] = resp_bytes
    heads[slot, PAIR_LAST] = time
    heads[slot, ROW] = row
    heads[slot, TOTAL] += 1
