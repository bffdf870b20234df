"""Where a tree may cut a column at a node: anywhere at random, or where shots and reference part best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit, njit_inline


class Node(NamedTuple):
    """The rows of one node, class after class, and room to work in for up to n, so that none asks for memory."""

    present: NDArray[np.int64]
    """(classes,) which classes have rows here, rising; as many as `size[1]`."""
    starts: NDArray[np.int64]
    """(classes + 1,) where the rows of each of these begin, counted from the node's first."""
    size: NDArray[np.int64]
    """(2,) how many rows and how many classes there are."""
    total: NDArray[np.float64]
    """(classes,) weight of each class."""
    classes: NDArray[np.int64]
    """(n,) class of each row."""
    values: NDArray[np.float32]
    """(n,) of one column."""
    groups: NDArray[np.int64]
    """(n,) of one column, as of `group_values`."""
    keys: NDArray[np.int64]
    """(n,) to sort."""
    counts: NDArray[np.int64]
    """(5 n,) benign rows of each group."""
    first: NDArray[np.int64]
    """(5 n,) a shot of each group, or -1."""
    following: NDArray[np.int64]
    """(n,) the next shot of the same group, or -1."""
    left: NDArray[np.float64]
    """(classes,) weight of each class left of a cut."""


CONSTANT = -2.0
"""In the place of a purity: the column does not vary here."""
_SPARSE = 4
"""So many groups for each row of a node, and counting them costs more than sorting the rows."""


@njit
def new_node(n_rows: int, n_classes: int) -> Node:
    """Make room for nodes of up to `n_rows`."""
    return Node(
        np.empty(n_classes, np.int64),
        np.empty(n_classes + 1, np.int64),
        np.empty(2, np.int64),
        np.empty(n_classes),
        np.empty(n_rows, np.int64),
        np.empty(n_rows, np.float32),
        np.empty(n_rows, np.int64),
        np.empty(n_rows, np.int64),
        np.empty((_SPARSE + 1) * n_rows, np.int64),
        np.empty((_SPARSE + 1) * n_rows, np.int64),
        np.empty(n_rows, np.int64),
        np.empty(n_classes),
    )


@njit
def enter(node: Node, rows: NDArray[np.uint32], labels: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """Take up the `rows` of a node, which stand class after class; return their weight."""
    here, whole = 0, 0.0
    label = -1
    for i in range(len(rows)):
        c = labels[rows[i]]
        node.classes[i] = c
        if c != label:
            label = c
            node.present[here], node.starts[here] = c, i
            here += 1
    node.starts[here] = len(rows)
    node.size[0], node.size[1] = len(rows), here
    node.total[:] = 0.0
    for k in range(here):
        c = node.present[k]
        node.total[c] = (node.starts[k + 1] - node.starts[k]) * weights[c]
        whole += node.total[c]
    return whole


@njit_inline
def read(node: Node, column: NDArray[np.float32], rows: NDArray[np.uint32]) -> tuple[np.float32, np.float32]:
    """Fill `node.values` with a column of its rows; return the least and the greatest."""
    values = node.values
    low = high = column[rows[0]]
    for i in range(len(rows)):
        x = column[rows[i]]
        values[i] = x
        low = x if x < low else low
        high = x if x > high else high
    return low, high


@njit_inline
def _purity(squares_left: float, squares_right: float, of_left: float, whole: float) -> float:
    """Sum of both sides' squared class weights over their weight, with one division."""
    of_right = max(whole - of_left, 1e-300)
    return (squares_left * of_right + squares_right * of_left) / (of_left * of_right)


@njit_inline
def purity_at(cut: np.float32, node: Node, weights: NDArray[np.float64], whole: float, min_leaf: int) -> float:
    """Purity of the two sides of `cut` of the column that was read; -1 where a side has fewer rows than `min_leaf`.

    It is what is left of the weighted Gini impurity, so turned that the greatest is the best.
    """
    of_left, squares_left, squares_right, n_left = 0.0, 0.0, 0.0, 0
    for k in range(node.size[1]):
        n_of = 0
        for i in range(node.starts[k], node.starts[k + 1]):
            n_of += node.values[i] <= cut
        c = node.present[k]
        left = n_of * weights[c]
        right = node.total[c] - left
        n_left += n_of
        of_left += left
        squares_left += left * left
        squares_right += right * right
    if n_left < min_leaf or node.size[0] - n_left < min_leaf:
        return -1.0
    return float(_purity(squares_left, squares_right, of_left, whole))


@njit
def group_values(columns: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int32]:
    """(features, n) values -> (features, n) which group of its column each is in, from 0 up.

    A value that a shot has is a group of its own; so are all benign values between two such. The best cut lies at the
    border of two groups, for inside one of benign rows alone it parts nothing (Fayyad and Irani 1992).
    """
    n_features, n = columns.shape
    groups = np.empty((n_features, n), np.int32)
    for f in range(n_features):
        order = np.argsort(columns[f])
        group, of_shots = -1, True
        start = 0
        while start < n:
            end, has_shots = start, False
            while end < n and columns[f, order[end]] == columns[f, order[start]]:
                has_shots |= labels[order[end]] > 0
                end += 1
            if has_shots or of_shots:
                group += 1
            of_shots = has_shots
            for i in range(start, end):
                groups[f, order[i]] = group
            start = end
    return groups


@njit
def best_cut(
    groups: NDArray[np.int32],
    rows: NDArray[np.uint32],
    weights: NDArray[np.float64],
    node: Node,
    whole: float,
    min_leaf: int,
) -> tuple[float, int]:
    """Return the purity of the purest cut of a column among `rows` and the group above it; -1 where there is none,
    `CONSTANT` where the column does not vary.

    Going up the groups, rows that change sides change the sums of squares by their own class's share alone.
    """
    n, here = len(rows), node.groups
    low = high = int(groups[rows[0]])
    for i in range(n):
        g = int(groups[rows[i]])
        here[i] = g
        low = g if g < low else low
        high = g if g > high else high
    if low == high:
        return CONSTANT, 0
    if high - low + 1 > (_SPARSE + 1) * n:
        n_groups = _close_up(node, n)
        is_close = True
    else:
        n_groups = high - low + 1
        is_close = False
        for i in range(n):
            here[i] -= low
    counts, first, following, left, total = node.counts, node.first, node.following, node.left, node.total
    counts[:n_groups] = 0
    first[:n_groups] = -1
    n_benign = node.starts[1] if node.present[0] == 0 else 0
    for i in range(n_benign):
        counts[here[i]] += 1
    for i in range(n_benign, n):
        following[i] = first[here[i]]
        first[here[i]] = i
    squares_left, squares_right, of_left, n_left = 0.0, 0.0, 0.0, 0
    for k in range(node.size[1]):
        c = node.present[k]
        left[c] = 0.0
        squares_right += total[c] * total[c]
    best, above, shots_before = -1.0, 0, False
    for g in range(n_groups):
        n_here, shot = counts[g], first[g]
        if n_here == 0 and shot < 0:
            continue
        if (shot >= 0 or shots_before) and n_left >= min_leaf and n - n_left >= min_leaf:
            purity = _purity(squares_left, max(squares_right, 0.0), of_left, whole)
            if purity > best:
                best, above = purity, g
        shots_before = shot >= 0
        if n_here:
            w = n_here * weights[0]
            squares_left += w * (2.0 * left[0] + w)
            squares_right -= w * (2.0 * (total[0] - left[0]) - w)
            left[0] += w
            of_left += w
            n_left += n_here
        while shot >= 0:
            c = node.classes[shot]
            w = weights[c]
            squares_left += w * (2.0 * left[c] + w)
            squares_right -= w * (2.0 * (total[c] - left[c]) - w)
            left[c] += w
            of_left += w
            n_left += 1
            shot = following[shot]
    if is_close:
        for i in range(n):
            if here[i] == above:
                return best, int(groups[rows[i]])
    return best, above + low


@njit
def _close_up(node: Node, n: int) -> int:
    """Number the groups of a node's n rows from 0 up without gaps; return how many there are."""
    here, keys = node.groups, node.keys
    for i in range(n):
        keys[i] = here[i] << 32 | i
    keys[:n].sort()
    number, before = -1, np.int64(-1)
    for i in range(n):
        group, row = keys[i] >> 32, keys[i] & 0xFFFFFFFF
        if group != before:
            number += 1
            before = group
        here[row] = number
    return number + 1


@njit
def between(column: NDArray[np.float32], groups: NDArray[np.int32], rows: NDArray[np.uint32], above: int) -> np.float32:
    """Halfway from the greatest value of `rows` below the group `above` to the least from it on, but never as far."""
    low, high = np.float32(-np.inf), np.float32(np.inf)
    for row in rows:
        x = column[row]
        if groups[row] < above:
            low = max(low, x)
        else:
            high = min(high, x)
    cut = np.float32((np.float64(low) + np.float64(high)) / 2)
    return cut if low <= cut < high else low
