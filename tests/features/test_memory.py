"""The memory of hosts: bounded, exact for those it keeps, and not to be flushed by strangers."""

from __future__ import annotations

import numpy as np
import pytest

from kshot.features.addresses import mixed
from kshot.features.memory import (
    BRIEF,
    RECENT,
    RING,
    STORED,
    TIME,
    TOTAL,
    WORD,
    find,
    new_memory,
    pack,
    peer_of,
    port_of,
    remember_host,
    service_of,
)

pytestmark = pytest.mark.kernel


def _keys(first: int, count: int) -> list[int]:
    return [int(key) for key in mixed(np.arange(first, first + count, dtype=np.uint64)).view(np.int64)]


def _tell(memory, key: int, row: int) -> None:
    arrays = (memory.orig_keys, memory.orig_heads, memory.orig_owners, memory.orig_connections)
    remember_host(*arrays, key, row, 1000 + row, pack(row, 80, 1, 0))


def test_a_host_moves_from_its_brief_places_to_a_ring_and_loses_nothing() -> None:
    memory = new_memory(hosts=8, rings=8, pairs=8, seen=8)
    (key,) = _keys(1, 1)
    for row in range(RECENT + 30):
        _tell(memory, key, row)
        slot = find(memory.orig_keys, key)
        stored = memory.orig_heads[slot, STORED]
        assert stored == memory.orig_heads[slot, TOTAL] == row + 1
        ring = memory.orig_heads[slot, RING]
        assert (ring >= 0) == (row >= BRIEF)
        begin = slot * BRIEF if ring < 0 else 8 * BRIEF + ring * RECENT
        times = memory.orig_connections[begin : begin + min(stored, RECENT), TIME]
        assert sorted(times.tolist()) == list(range(1000 + max(0, row + 1 - RECENT), 1001 + row))


def test_a_flood_of_strangers_pushes_out_strangers() -> None:
    memory = new_memory(hosts=64, rings=8, pairs=8, seen=8)
    regulars, strangers = _keys(1, 6), _keys(100, 2000)
    row = 0
    for _ in range(6):
        for key in regulars:
            _tell(memory, key, row)
            row += 1
    for key in strangers:
        _tell(memory, key, row)
        row += 1
    kept = [key for key in regulars if find(memory.orig_keys, key) >= 0]
    assert kept == regulars
    assert np.count_nonzero(memory.orig_keys) <= 64
    for key in regulars:
        slot = find(memory.orig_keys, key)
        assert memory.orig_heads[slot, TOTAL] == 6
        assert memory.orig_owners[memory.orig_heads[slot, RING]] == slot


def test_rings_are_taken_from_who_was_silent_longest() -> None:
    memory = new_memory(hosts=64, rings=8, pairs=8, seen=8)
    row = 0
    for key in _keys(1, 30):
        for _ in range(BRIEF + 1):
            _tell(memory, key, row)
            row += 1
    owners = memory.orig_owners[:-1]
    heads = memory.orig_heads
    assert len(set(owners.tolist())) == 8
    assert all(heads[owner, RING] == ring for ring, owner in enumerate(owners))
    assert np.count_nonzero(heads[:, RING] >= 0) == 8
    last = find(memory.orig_keys, _keys(30, 1)[0])
    assert heads[last, RING] >= 0


def test_a_packed_connection_gives_back_its_parts() -> None:
    for peer, port, service, mark in ((0, 0, 0, 0), ((1 << 30) - 1, 3 * 65536 - 1, 63, 3), (12345, 65536 + 53, 11, 1)):
        word = pack(peer, port, service, mark)
        assert (peer_of(word), port_of(word), service_of(word), word & 7) == (peer, port, service, mark)
        assert pack(peer | 1 << 40, port, service, mark) == word
    assert WORD == 1


def test_the_memory_is_small() -> None:
    assert sum(array.nbytes for array in new_memory()) < 80 * 2**20
