"""What both ends did before: recent connections of each, the rhythm of the pair, what is new and what is rare."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kshot.features.declare import SIDES, both, number, truth
from kshot.features.memory import (
    BRIEF,
    PAIR_LAST,
    PAIR_RECENT,
    RECENT,
    RING,
    STORED,
    TIME,
    TOTAL,
    WORD,
    find,
    pack,
    peer_of,
    port_of,
    remember_host,
    remember_pair,
    remember_seen,
    service_of,
)
from kshot.jit import njit
from kshot.records.columns import Column, Tier

WINDOWS_SECONDS = (2, 10, 60)
LEAST_HISTORY = 3
"""Earlier connections below which shares say nothing."""
LEAST_FLOWS = 50
"""Flows on the network below which rarity says nothing."""
RARITY_FLOWS = 2048
"""When so many are counted, all counts are halved: rarity is of recent flows, and bounded however long one listens."""
_RARITY = f"{RARITY_FLOWS // 2:,} to {RARITY_FLOWS:,}"
_N, _Z = Tier.NETFLOW, Tier.ZEEK
_OF = {"orig": "connections that the originator opened", "resp": "connections that the responder got"}
_PEERS = {"orig": "responders", "resp": "originators"}


def _host_columns(side: str) -> list[Column]:
    of, peers = _OF[side], _PEERS[side]
    last = f"last {RECENT} {of}"
    return [
        *(number(f"{side}_flows_{w}s", "1", f"{of}, within {w} s of this one", _N) for w in WINDOWS_SECONDS),
        number(f"{side}_peers_10s", "1", f"distinct {peers} of these within 10 s", _N),
        number(f"{side}_ports_10s", "1", "distinct responder ports of these within 10 s", _N),
        number(f"{side}_peers_100", "1", f"distinct {peers} among the {last}", _N),
        number(f"{side}_ports_100", "1", f"distinct responder ports among the {last}", _N),
        number(f"{side}_peer_share_100", "1", f"distinct {peers} over the {last}", _N),
        number(f"{side}_port_share_100", "1", f"distinct responder ports over the {last}", _N),
        number(f"{side}_same_peer_share_100", "1", f"share with this same pair of hosts among the {last}", _N),
        number(f"{side}_same_port_share_100", "1", f"share with this responder port among the {last}", _N),
        number(f"{side}_same_port_peers_100", "1", f"distinct {peers} with this responder port among the {last}", _N),
        number(f"{side}_same_pair_ports_100", "1", f"distinct ports of this pair of hosts among the {last}", _N),
        number(f"{side}_unanswered_share_100", "1", f"unanswered share of the {last}", _N),
        number(f"{side}_rejected_share_100", "1", f"share refused or reset among the {last}", _Z),
        number(f"{side}_same_service_share_100", "1", f"share that spoke this service among the {last}", _Z),
        number(f"{side}_rate_100", "1/s", f"{last} over the time they span", _N),
    ]


COLUMNS: tuple[Column, ...] = (
    *(column for side, _ in SIDES for column in _host_columns(side)),
    number("pair_flows", "1", f"earlier connections of this originator, responder and port, at most {PAIR_RECENT}", _N),
    number("pair_span_seconds", "seconds", "over which these came", _N),
    number("pair_gap_seconds", "seconds", "since the last of them", _N),
    number("pair_gap_median_seconds", "seconds", f"median gap of the last {PAIR_RECENT}; null below 3 gaps", _N),
    number("pair_gap_variation", "1", "standard deviation over mean of these gaps", _N),
    number("pair_gap_spread", "1", "median distance from their median over that median", _N),
    *both("pair_bytes_variation_from_{}", "1", "standard deviation over mean of IP bytes from the {}, same flows", _N),
    truth("peer_is_new", "the originator never called this responder; null if it never called any", _N),
    truth("port_is_new_on_responder", "the responder was never called on this port; null if never at all", _N),
    truth("responder_is_new", "the responder was never called; null on a network of few flows so far", _N),
    truth("was_called_back", "the responder has opened connections to the originator before", _N),
    number("port_rarity_bits", "bits", f"-log2 of this responder port's share of the last {_RARITY} flows", _N),
    number("service_rarity_bits", "bits", f"-log2 of this service's share of the last {_RARITY} flows", _Z),
)
"""History is of the flows in the rows before, which is their order of closing, so that live equals offline; windows
are over the distance of first times, either way. Only a connection's first slice makes history. Services that logs
have no name for count as one."""

_HOST_FEATURES = len(_host_columns("orig"))
_PAIR = 2 * _HOST_FEATURES
_NEW = _PAIR + 8
_SLOTS = 256
"""Of the scratch tables that count distinct values among at most `RECENT`."""


@njit
def _meet(tables: Any, t: int, stamp: int, value: int, bits: int) -> int:
    """Add `bits` to `value`'s in scratch table t (slots, 3: stamp, value, bits); return those that are new there."""
    slot = (value ^ (value >> 8) ^ (value >> 16)) & (_SLOTS - 1)
    while tables[t, slot, 0] == stamp and tables[t, slot, 1] != value:
        slot = (slot + 1) & (_SLOTS - 1)
    if tables[t, slot, 0] != stamp:
        tables[t, slot, 0] = stamp
        tables[t, slot, 1] = value
        tables[t, slot, 2] = 0
    new: int = bits & ~tables[t, slot, 2]
    tables[t, slot, 2] |= bits
    return new


@njit
def _host(
    keys: Any,
    heads: Any,
    connections: Any,
    key: int,
    time: int,
    age: float,
    mine: int,
    tables: Any,
    stamp: int,
    out: Any,
    at: int,
    i: int,
) -> int:
    """Fill features [at, at + 17) of flow i from one end's recent connections; return how many it has.

    `mine` is the flow's own packed word, `age` the seconds since the first flow of all.
    """
    slot = find(keys, key)
    n, begin = 0, 0
    if slot >= 0:
        n, begin = heads[slot, STORED], slot * BRIEF
        if heads[slot, RING] >= 0:
            n, begin = min(n, RECENT), len(keys) * BRIEF + heads[slot, RING] * RECENT
    peer, port, service = peer_of(mine), port_of(mine), service_of(mine)
    within_2, within_10, within_60, same_peer, same_port, unanswered, rejected, same_service = 0, 0, 0, 0, 0, 0, 0, 0
    peers, peers_10, port_peers, ports, ports_10, pair_ports = 0, 0, 0, 0, 0, 0
    first, last = time, time
    for k in range(begin, begin + n):
        then, word = connections[k, TIME], connections[k, WORD]
        first, last = min(first, then), max(last, then)
        distance = abs(time - then)
        bits = 1
        if distance <= 60_000_000_000:
            within_60 += 1
            if distance <= 10_000_000_000:
                within_10 += 1
                bits = 3
                within_2 += distance <= 2_000_000_000
        is_peer, is_port = peer_of(word) == peer, port_of(word) == port
        same_peer += is_peer
        same_port += is_port
        unanswered += word & 1
        rejected += (word >> 1) & 1
        same_service += service_of(word) == service
        new = _meet(tables, 0, stamp, peer_of(word), bits + 4 * is_port)
        peers += new & 1
        peers_10 += (new >> 1) & 1
        port_peers += new >> 2
        new = _meet(tables, 1, stamp, port_of(word), bits + 4 * is_peer)
        ports += new & 1
        ports_10 += (new >> 1) & 1
        pair_ports += new >> 2
    has_history = n >= LEAST_HISTORY
    if has_history or age >= 2:
        out[at, i] = within_2
    if has_history or age >= 10:
        out[at + 1, i] = within_10
        out[at + 3, i] = peers_10
        out[at + 4, i] = ports_10
    if has_history or age >= 60:
        out[at + 2, i] = within_60
    if has_history:
        out[at + 5, i] = peers
        out[at + 6, i] = ports
        out[at + 7, i] = peers / n
        out[at + 8, i] = ports / n
        out[at + 9, i] = same_peer / n
        out[at + 10, i] = same_port / n
        out[at + 11, i] = port_peers
        out[at + 12, i] = pair_ports
        out[at + 13, i] = unanswered / n
        out[at + 14, i] = rejected / n
        out[at + 15, i] = same_service / n
        if last > first:
            out[at + 16, i] = n / ((last - first) * 1e-9)
    return n


@njit
def _median(values: Any, n: int) -> float:
    """Sort the first n of `values` in place and return their median."""
    for i in range(1, n):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return float((values[(n - 1) // 2] + values[n // 2]) / 2)


@njit
def _variation(values: Any, n: int) -> float:
    """Return the standard deviation over the mean of the first n of `values`; NaN for a mean of 0."""
    total, squares = 0.0, 0.0
    for k in range(n):
        total += values[k]
        squares += values[k] * values[k]
    if total <= 0:
        return math.nan
    mean = total / n
    return math.sqrt(max(squares / n - mean * mean, 0.0)) / mean


@njit
def _pair(keys: Any, heads: Any, recent: Any, key: int, time: int, size: Any, values: Any, out: Any, i: int) -> None:
    """Fill the eight features of flow i's pair of hosts and port; `values` is (PAIR_RECENT + 1,) scratch."""
    slot = find(keys, key)
    earlier = heads[slot, TOTAL] if slot >= 0 else 0
    out[_PAIR, i] = min(earlier, PAIR_RECENT)
    if earlier == 0:
        return
    gap = abs(time - heads[slot, PAIR_LAST]) * 1e-9
    n = min(earlier - 1, PAIR_RECENT - 1)
    span = gap
    for k in range(n):
        # The gap written last stands before place `earlier - 1`; older ones before that, going round.
        values[k] = recent[slot, 0, (earlier - 2 - k) % PAIR_RECENT]
        span += values[k]
    values[n] = gap
    out[_PAIR + 1, i] = span
    out[_PAIR + 2, i] = gap
    if n + 1 < LEAST_HISTORY:
        return
    out[_PAIR + 4, i] = _variation(values, n + 1)
    middle = _median(values, n + 1)
    out[_PAIR + 3, i] = middle
    if middle > 0:
        for k in range(n + 1):
            values[k] = abs(values[k] - middle)
        out[_PAIR + 5, i] = _median(values, n + 1) / middle
    n = min(earlier, PAIR_RECENT)
    for d in range(2):
        for k in range(n):
            values[k] = recent[slot, 1 + d, k]
        values[n] = size[i, d]
        out[_PAIR + 6 + d, i] = _variation(values, n + 1)


@njit
def behaviour_kernel(
    orig_keys: Any,
    orig_heads: Any,
    orig_owners: Any,
    orig_connections: Any,
    resp_keys: Any,
    resp_heads: Any,
    resp_owners: Any,
    resp_connections: Any,
    pair_keys: Any,
    pair_heads: Any,
    pair_recent: Any,
    seen_keys: Any,
    seen_heads: Any,
    port_flows: Any,
    service_flows: Any,
    clock: Any,
    keys: NDArray[np.int64],
    facts: NDArray[np.int64],
    sizes: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Fill `out` (features, n), NaN before, from what the memory holds, and tell it each flow in turn.

    First the arrays of a `Memory`. `keys` is (n, 6): originator, responder, both and the port, both, both the other way
    round, responder and port. `facts` is (n, 5): nanoseconds, protocol's kind (0 to 2) * 65536 + responder's port,
    service, rejected * 2 + unanswered, slice. `sizes` is (n, 2): IP bytes of originator and responder.
    """
    tables = np.zeros((2, _SLOTS, 3), np.int64)
    values = np.zeros(PAIR_RECENT + 1)
    for i in range(len(keys)):
        orig, resp, pair = keys[i, 0], keys[i, 1], keys[i, 2]
        time, port, service, mark = facts[i, 0], facts[i, 1], facts[i, 2], facts[i, 3]
        row = clock[0]
        if row == 0:
            clock[1] = time
        age = (time - clock[1]) * 1e-9
        call, answer = pack(resp, port, service, mark), pack(orig, port, service, mark)
        called = _host(orig_keys, orig_heads, orig_connections, orig, time, age, call, tables, 2 * i + 1, out, 0, i)
        answered = _host(
            resp_keys, resp_heads, resp_connections, resp, time, age, answer, tables, 2 * i + 2, out, _HOST_FEATURES, i
        )
        _pair(pair_keys, pair_heads, pair_recent, pair, time, sizes, values, out, i)
        if called > 0:
            out[_NEW, i] = find(seen_keys, keys[i, 3]) < 0
        if answered > 0:
            out[_NEW + 1, i] = find(seen_keys, keys[i, 5]) < 0
        out[_NEW + 3, i] = find(seen_keys, keys[i, 4]) >= 0
        if row >= LEAST_FLOWS:
            out[_NEW + 2, i] = answered == 0
            out[_NEW + 4, i] = -math.log2((port_flows[port] + 1) / (clock[2] + 1))
            out[_NEW + 5, i] = -math.log2((service_flows[service] + 1) / (clock[2] + 1))
        if facts[i, 4] > 0:
            continue
        remember_host(orig_keys, orig_heads, orig_owners, orig_connections, orig, row, time, call)
        remember_host(resp_keys, resp_heads, resp_owners, resp_connections, resp, row, time, answer)
        remember_pair(pair_keys, pair_heads, pair_recent, pair, row, time, sizes[i, 0], sizes[i, 1])
        remember_seen(seen_keys, seen_heads, keys[i, 3], row)
        remember_seen(seen_keys, seen_heads, keys[i, 5], row)
        port_flows[port] += 1
        service_flows[service] += 1
        clock[0] += 1
        clock[2] += 1
        if clock[2] >= RARITY_FLOWS:
            clock[2] //= 2
            for counts in (port_flows, service_flows):
                for k in range(len(counts)):
                    counts[k] //= 2
