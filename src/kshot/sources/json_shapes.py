"""The shapes of JSON lines seen, as a tree: what stands between values is compared, not parsed again.

A writer of logs puts the same keys in the same order, so that between its values always the same bytes stand:
`,"src_port":`, `},"app_proto":"`. A node of the tree is such a stretch, beside it the column of the value behind it. A
line that follows a path of the tree to its end, with a whole value behind each node, is as valid as the line that the
path was learned from, and its values mean the same. Any other is walked, and its path added while there is room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit_bare, njit_step, read_word
from kshot.sources.json_walk import (
    BEGINS,
    CLOSES,
    CLOSES_AT,
    COLUMN,
    ENDS,
    OPENS,
    OPENS_AT,
    literal_end,
    number_end,
    special_at,
    string_end,
)
from kshot.sources.line_spans import CONTAINER, ESCAPED_TEXT, LITERAL, NO_VALUE, NUMBER, PLAIN_TEXT, byte_at

MOST_NODES = 4096
"""Of a tree. Node 0 is its root, whose first field counts the nodes."""
_MOST_SIBLINGS = 8
"""So many ways on from a node are tried at most, so that lines of ever new keys cost no more than their walk."""
_TEXT, _BYTES, _COLUMN, _CHILD, _SIBLING, _OPENS, _OPENS_AFTER, _CLOSES, _CLOSES_AFTER, _IS_END = range(10)
NODE_FIELDS = 10
"""Where the stretch was first seen in the buffer, and its length; the column behind it; the nodes after and beside it;
the columns of arrays wanted whole that open and close in it, and behind how many bytes; 1 if the line ends with it."""


@njit_step
def _same(buffer: NDArray[np.uint8], one: int, other: int, length: int) -> bool:
    """Whether as many bytes are the same in two places."""
    same = True
    while length >= 8:
        if read_word(buffer, one) != read_word(buffer, other):
            same = False
            break
        one += 8
        other += 8
        length -= 8
    if same and length > 0:
        same = (read_word(buffer, one) ^ read_word(buffer, other)) >> np.uint64(64 - 8 * length) == np.uint64(0)
    return same


@njit_bare
def follow(
    buffer: NDArray[np.uint8],
    at: int,
    nodes: NDArray[np.int32],
    opened: NDArray[np.int32],
    begins: NDArray[np.int32],
    ends: NDArray[np.int32],
    kinds: NDArray[np.uint8],
) -> int:
    """Read the line whose object begins at `at` along the tree; return where its newline stands, or -1.

    begins, ends, kinds: of the line, as in `Spans`; partly filled if -1 is returned. opened: room, one a column.
    """
    node = nodes[0, _CHILD]
    while node >= 0:
        if not _same(buffer, at, nodes[node, _TEXT], nodes[node, _BYTES]):
            node = nodes[node, _SIBLING]
            continue
        if nodes[node, _OPENS] >= 0:
            opened[nodes[node, _OPENS]] = at + nodes[node, _OPENS_AFTER]
        if nodes[node, _CLOSES] >= 0:
            column = nodes[node, _CLOSES]
            if begins[column] < 0:
                begins[column], ends[column], kinds[column] = opened[column], at + nodes[node, _CLOSES_AFTER], CONTAINER
        at += nodes[node, _BYTES]
        if nodes[node, _IS_END] == 1:
            return at - 1
        value = at
        byte = byte_at(buffer, at)
        kind = NUMBER
        if byte == 34:
            value = at + 1
            at = special_at(buffer, value)
            kind = PLAIN_TEXT
            if byte_at(buffer, at) != 34:
                at, _, fault = string_end(buffer, value)
                kind = ESCAPED_TEXT
                if fault:
                    break
        elif 48 <= byte <= 57 or byte == 45:
            at = number_end(buffer, at)
        else:
            at = literal_end(buffer, at)
            kind = NO_VALUE if byte == 110 else LITERAL
        if at < 0:
            break
        column = nodes[node, _COLUMN]
        if column >= 0 and kind != NO_VALUE and begins[column] < 0:
            begins[column], ends[column], kinds[column] = value, at, kind
        if byte == 34:
            at += 1
        node = nodes[node, _CHILD]
    return -1


@njit_bare
def learn(
    buffer: NDArray[np.uint8], at: int, newline: int, steps: NDArray[np.int32], count: int, nodes: NDArray[np.int32]
) -> None:
    """Add the path of a good line, from its brace `at` to its `newline`, by the steps that its walk noted."""
    parent = 0
    for step in range(count + 1):
        is_end = step == count
        length = (newline + 1 if is_end else steps[step, BEGINS]) - at
        siblings = 0
        last = -1
        node = nodes[parent, _CHILD]
        while node >= 0 and not (nodes[node, _BYTES] == length and _same(buffer, at, nodes[node, _TEXT], length)):
            siblings += 1
            last = node
            node = nodes[node, _SIBLING]
        if node < 0:
            node = nodes[0, 0]
            if node == MOST_NODES or siblings == _MOST_SIBLINGS:
                break
            nodes[0, 0] += 1
            nodes[node, _TEXT], nodes[node, _BYTES] = at, length
            nodes[node, _OPENS], nodes[node, _OPENS_AFTER] = steps[step, OPENS], steps[step, OPENS_AT] - at
            nodes[node, _CLOSES], nodes[node, _CLOSES_AFTER] = steps[step, CLOSES], steps[step, CLOSES_AT] - at
            nodes[node, _IS_END] = is_end
            nodes[node, _COLUMN] = -1 if is_end else steps[step, COLUMN]
            if last < 0:
                nodes[parent, _CHILD] = node
            else:
                nodes[last, _SIBLING] = node
        if not is_end:
            at = steps[step, ENDS]
        parent = node
