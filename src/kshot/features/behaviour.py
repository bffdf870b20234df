"""What both ends did before: recent connections of each, the rhythm of the pair, what is new and what is rare."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kshot.features.declare import SIDES, both, number, truth
from kshot.features.memory import (
    BRIEF,
    PAIR_RECENT,
    RECENT,
    Memory,
    find,
    remember_host,
    remember_pair,
    remember_seen,
)
from kshot.jit import njit
from kshot.records.columns import Column, Tier

WINDOWS_SECONDS = (2, 10, 60)
LEAST_HISTORY = 3
"""Earlier connections below which shares say nothing."""
LEAST_FLOWS = 50
"""Flows on the network below which rarity says nothing."""
_N, _Z, _P = Tier.NETFLOW, Tier.ZEEK, Tier.PACKETS
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
        number(f"{side}_same_service_share_100", "1", f"share that spoke this service among the {last}", _P),
        number(f"{side}_rate_100", "1/s", f"{last} over the time they span", _N),
    ]


COLUMNS: tuple[Column, ...] = (
    *(column for side, _ in SIDES for column in _host_columns(side)),
    number("pair_flows", "1", "earlier connections of this originator, responder and port", _N),
    number("pair_age_seconds", "seconds", "since the first of them", _N),
    number("pair_gap_seconds", "seconds", "since the last of them", _N),
    number("pair_gap_median_seconds", "seconds", f"median gap of the last {PAIR_RECENT}; null below 3 gaps", _N),
    number("pair_gap_variation", "1", "standard deviation over mean of these gaps", _N),
    number("pair_gap_spread", "1", "median distance from their median over that median", _N),
    *both("pair_bytes_variation_from_{}", "1", "standard deviation over mean of IP bytes from the {}, same flows", _N),
    truth("peer_is_new", "the originator never called this responder; null if it never called any", _N),
    truth("port_is_new_on_responder", "the responder was never called on this port; null if never at all", _N),
    truth("responder_is_new", "the responder was never called; null on a network of few flows so far", _N),
    truth("was_called_back", "the responder has opened connections to the originator before", _N),
    number("port_rarity_bits", "bits", "-log2 of the share of flows so far with this responder port", _N),
    number("service_rarity_bits", "bits", "-log2 of the share of flows so far with this service", _P),
)
"""History is of the flows in the rows before, which is their order of closing, so that live equals offline; windows
are over the distance of first times, either way. Only a connection's first slice makes history."""

_HOST_FEATURES = len(_host_columns("orig"))
_PAIR = 2 * _HOST_FEATURES
_NEW = _PAIR + 8
_SLOTS = 256
"""Of the scratch tables that count distinct values among at most `RECENT`."""


@njit
def _meet(table: Any, stamp: int, value: int, bits: int) -> int:
    """Add `bits` to `value`'s in a scratch table (slots, 3: stamp, value, bits); return those that are new there."""
    slot = (value ^ (value >> 8) ^ (value >> 16)) & (_SLOTS - 1)
    while table[slot, 0] == stamp and table[slot, 1] != value:
        slot = (slot + 1) & (_SLOTS - 1)
    if table[slot, 0] != stamp:
        table[slot, 0] = stamp
        table[slot, 1] = value
        table[slot, 2] = 0
    new: int = bits & ~table[slot, 2]
    table[slot, 2] |= bits
    return new


@njit
def _host(
    hosts: Any, key: int, time: int, age: float, peer: int, port: int, service: int, tables: Any, stamp: int, out: Any
) -> int:
    """Fill one end's features into `out` from its recent connections; return how many of these it has."""
    slot = find(hosts.keys, key)
    n, begin = 0, 0
    if slot >= 0:
        if hosts.rings[slot] < 0:
            n, begin = hosts.stored[slot], slot * BRIEF
        else:
            n, begin = min(hosts.stored[slot], RECENT), len(hosts.keys) * BRIEF + hosts.rings[slot] * RECENT
    within_2, within_10, within_60, same_peer, same_port, unanswered, rejected, same_service = 0, 0, 0, 0, 0, 0, 0, 0
    peers, peers_10, port_peers, ports, ports_10, pair_ports = 0, 0, 0, 0, 0, 0
    first, last = time, time
    for k in range(begin, begin + n):
        then = hosts.times[k]
        first, last = min(first, then), max(last, then)
        distance = abs(time - then)
        bits = 1
        if distance <= 60_000_000_000:
            within_60 += 1
            if distance <= 10_000_000_000:
                within_10 += 1
                bits = 3
                if distance <= 2_000_000_000:
                    within_2 += 1
        is_peer, is_port = hosts.peers[k] == peer, hosts.ports[k] == port
        same_peer += is_peer
        same_port += is_port
        mark = hosts.marks[k]
        unanswered += mark & 1
        rejected += (mark >> 1) & 1
        same_service += mark >> 2 == service
        new = _meet(tables[0], stamp, hosts.peers[k], bits + 4 * is_port)
        peers += new & 1
        peers_10 += (new >> 1) & 1
        port_peers += new >> 2
        new = _meet(tables[1], stamp, hosts.ports[k], bits + 4 * is_peer)
        ports += new & 1
        ports_10 += (new >> 1) & 1
        pair_ports += new >> 2
    has_history = n >= LEAST_HISTORY
    if has_history or age >= 2:
        out[0] = within_2
    if has_history or age >= 10:
        out[1] = within_10
        out[3] = peers_10
        out[4] = ports_10
    if has_history or age >= 60:
        out[2] = within_60
    if has_history:
        out[5] = peers
        out[6] = ports
        out[7] = peers / n
        out[8] = ports / n
        out[9] = same_peer / n
        out[10] = same_port / n
        out[11] = port_peers
        out[12] = pair_ports
        out[13] = unanswered / n
        out[14] = rejected / n
        out[15] = same_service / n
        if last > first:
            out[16] = n / ((last - first) * 1e-9)
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
def _pair(pairs: Any, key: int, time: int, orig_bytes: float, resp_bytes: float, values: Any, out: Any) -> None:
    """Fill the eight features of a pair of hosts and a port into `out`; `values` is (PAIR_RECENT + 1,) scratch."""
    slot = find(pairs.keys, key)
    earlier = pairs.totals[slot] if slot >= 0 else 0
    out[0] = earlier
    if earlier == 0:
        return
    gap = abs(time - pairs.last_times[slot]) * 1e-9
    out[1] = abs(time - pairs.first_times[slot]) * 1e-9
    out[2] = gap
    n = min(earlier - 1, PAIR_RECENT)
    if n + 1 < LEAST_HISTORY:
        return
    for k in range(n):
        values[k] = pairs.gaps[slot, k]
    values[n] = gap
    out[4] = _variation(values, n + 1)
    middle = _median(values, n + 1)
    out[3] = middle
    if middle > 0:
        for k in range(n + 1):
            values[k] = abs(values[k] - middle)
        out[5] = _median(values, n + 1) / middle
    n = min(earlier, PAIR_RECENT)
    for d in range(2):
        for k in range(n):
            values[k] = pairs.sizes[slot, d, k]
        values[n] = orig_bytes if d == 0 else resp_bytes
        out[6 + d] = _variation(values, n + 1)


@njit
def behaviour_kernel(
    memory: Memory, keys: NDArray[np.int64], facts: NDArray[np.int64], sizes: NDArray[np.float64], out: NDArray[Any]
) -> None:
    """Fill `out` (features, n), NaN before, from what `memory` holds, and tell it each flow in turn.

    `keys` is (n, 6): originator, responder, both and the port, both, both the other way round, responder and port.
    `facts` is (n, 5): nanoseconds, protocol's kind (0 to 2) * 65536 + responder's port, service, rejected * 2 +
    unanswered, slice. `sizes` is (n, 2): IP bytes of originator and responder.
    """
    originators, responders, pairs, seen, counts = memory
    tables = np.zeros((2, _SLOTS, 3), np.int64)
    values = np.zeros(PAIR_RECENT + 1)
    for i in range(len(keys)):
        orig, resp = keys[i, 0], keys[i, 1]
        orig_peer, resp_peer = resp & 0x7FFFFFFF, orig & 0x7FFFFFFF
        time, port, service, mark = facts[i, 0], facts[i, 1], facts[i, 2], facts[i, 3]
        row = counts.clock[0]
        if row == 0:
            counts.clock[1] = time
        age = (time - counts.clock[1]) * 1e-9
        column = out[:, i]
        called = _host(originators, orig, time, age, orig_peer, port, service, tables, 2 * i + 1, column)
        answered = _host(
            responders, resp, time, age, resp_peer, port, service, tables, 2 * i + 2, column[_HOST_FEATURES:]
        )
        _pair(pairs, keys[i, 2], time, sizes[i, 0], sizes[i, 1], values, column[_PAIR:])
        if called > 0:
            column[_NEW] = find(seen.keys, keys[i, 3]) < 0
        if answered > 0:
            column[_NEW + 1] = find(seen.keys, keys[i, 5]) < 0
        column[_NEW + 3] = find(seen.keys, keys[i, 4]) >= 0
        if row >= LEAST_FLOWS:
            column[_NEW + 2] = answered == 0
            column[_NEW + 4] = -math.log2((counts.ports[port] + 1) / (row + 1))
            column[_NEW + 5] = -math.log2((counts.services[service] + 1) / (row + 1))
        if facts[i, 4] > 0:
            continue
        remember_host(originators, orig, row, time, orig_peer, port, service * 4 + mark)
        remember_host(responders, resp, row, time, resp_peer, port, service * 4 + mark)
        remember_pair(pairs, keys[i, 2], row, time, sizes[i, 0], sizes[i, 1])
        remember_seen(seen, keys[i, 3], row)
        remember_seen(seen, keys[i, 5], row)
        counts.ports[port] += 1
        counts.services[service] += 1
        counts.clock[0] += 1
