"""The keys to look for in JSON lines, as tables that a kernel finds them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_bare
from kshot.sources.line_spans import byte_at

_SLOTS = 512


class JsonPaths(NamedTuple):
    """The keys to look for, as the tables that the walk goes by."""

    slots: NDArray[np.int32]
    """(_SLOTS,) a hash table: entry + 1, or 0."""
    entries: NDArray[np.int32]
    """(n, 6) node of the object it stands in, where its key begins and ends in `keys`, column or -1, its own node or
    -1, and 1 if an array there is wanted whole."""
    keys: NDArray[np.uint8]
    columns: int

    @classmethod
    def of(cls, paths: Mapping[tuple[str, ...], int], whole: Sequence[int] = ()) -> JsonPaths:
        """Build from path to column; several paths may lead to one column, arrays on the way are looked through.

        The first value found for a column stays. An array's first element counts, but for the columns in `whole`
        the array itself does.
        """
        nodes: dict[tuple[str, ...], int] = {(): 0}
        entries: dict[tuple[str, ...], list[int]] = {}
        keys = bytearray()
        for path, column in paths.items():
            for depth in range(1, len(path) + 1):
                part = path[:depth]
                if part not in entries:
                    key = part[-1].encode()
                    entries[part] = [nodes[part[:-1]], len(keys), len(keys) + len(key), -1, -1, 0]
                    keys += key
                if depth < len(path) and part not in nodes:
                    nodes[part] = entries[part][4] = len(nodes)
            entries[path][3] = column
            entries[path][5] = int(column in whole)
        slots = np.zeros(_SLOTS, np.int32)
        text = np.frombuffer(bytes(keys), np.uint8)
        for number, (node, begin, end, *_) in enumerate(entries.values(), 1):
            slot = int(_slot_of(node, text, begin, end))
            while slots[slot]:
                slot = (slot + 1) & (_SLOTS - 1)
            slots[slot] = number
        return cls(slots, np.array(list(entries.values()), np.int32), text, 1 + max(paths.values()))


@njit_bare
def _slot_of(node: int, text: NDArray[np.uint8], begin: int, end: int) -> int:
    if end == begin:
        return node & (_SLOTS - 1)
    first, middle, last = int(text[begin]), int(text[begin + (end - begin) // 2]), int(text[end - 1])
    return (node * 131 + (end - begin) * 29 + first * 7 + middle * 17 + last * 3) & (_SLOTS - 1)


@njit_bare
def entry_of(
    node: int,
    buffer: NDArray[np.uint8],
    begin: int,
    end: int,
    paths: JsonPaths,
) -> int:
    """Return the entry of the key buffer[begin:end] in the object of `node`; -1 if it is not wanted."""
    slot = _slot_of(node, buffer, begin, end)
    found = -1
    while found < 0 and paths.slots[slot]:
        entry = paths.slots[slot] - 1
        key_begin = paths.entries[entry, 1]
        if paths.entries[entry, 0] == node and paths.entries[entry, 2] - key_begin == end - begin:
            same = True
            for i in range(end - begin):
                if byte_at(buffer, begin + i) != byte_at(paths.keys, key_begin + i):
                    same = False
                    break
            if same:
                found = entry
        slot = (slot + 1) & (_SLOTS - 1)
    return found
