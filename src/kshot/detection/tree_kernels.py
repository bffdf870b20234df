"""Growing one tree: the rows it sees, and node by node where they part, by random or by best cuts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.detection.cut_kernels import CONSTANT, Node, best_cut, between, enter, purity_at, read
from kshot.jit import njit, njit_inline


@njit_inline
def _next(state: NDArray[np.uint64]) -> np.uint64:
    """SplitMix64 (Steele, Lea and Flood 2014): a generator of our own, so that no global state is shared."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(z ^ (z >> np.uint64(31)))


@njit_inline
def uniform(state: NDArray[np.uint64]) -> float:
    """In [0, 1)."""
    return float(_next(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit_inline
def below(state: NDArray[np.uint64], n: int) -> int:
    """A whole number in [0, n)."""
    return min(int(uniform(state) * n), n - 1)


@njit
def draw_rows(
    labels: NDArray[np.int64], keep: NDArray[np.float64], state: NDArray[np.uint64], chosen: NDArray[np.int64]
) -> int:
    """Fill `chosen` with a tree's rows: of class c the share keep[c] (at least one), drawn without replacement."""
    n_classes = len(keep)
    members = np.zeros(n_classes, np.int64)
    for label in labels:
        members[label] += 1
    wanted = np.empty(n_classes, np.int64)
    for c in range(n_classes):
        wanted[c] = max(1, int(np.round(keep[c] * members[c])))
    n = 0
    # Selection sampling (Knuth, Algorithm S): in order, exact counts.
    for i in range(len(labels)):
        c = labels[i]
        if uniform(state) * members[c] < wanted[c]:
            chosen[n] = i
            n += 1
            wanted[c] -= 1
        members[c] -= 1
    return n


@njit
def by_class(rows: NDArray[np.int64], labels: NDArray[np.int64], n_classes: int, out: NDArray[np.uint32]) -> None:
    """Fill `out` with `rows`, class after class, in each as they stood."""
    at = np.zeros(n_classes + 1, np.int64)
    for row in rows:
        at[labels[row] + 1] += 1
    for c in range(n_classes):
        at[c + 1] += at[c]
    for row in rows:
        out[at[labels[row]]] = row
        at[labels[row]] += 1


@njit
def grow_tree(
    columns: NDArray[np.float32],
    groups: NDArray[np.int32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    rows: NDArray[np.uint32],
    n_tried: int,
    min_leaf: int,
    is_best: bool,
    state: NDArray[np.uint64],
    here: Node,
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    value: NDArray[np.float32],
) -> int:
    """Grow one tree on `rows` of `columns` (features, n); fill the node arrays and return the number of nodes.

    At each node `n_tried` features that vary there get one threshold each, uniform at random (Geurts et al. 2006) or,
    with `is_best`, where weighted Gini impurity falls most (Breiman 2001; `groups` are those of `group_values`), and
    the greatest fall wins. The left child of node i is child[i], the right one the next; child is 0 at a leaf. `value`
    (nodes, classes) holds class shares. `rows` stand class after class, and so do those of every node.
    """
    n_features, n_classes = columns.shape[0], value.shape[1]
    order = np.arange(n_features)
    starts, ends, nodes = np.empty(2 * len(rows) + 2, np.int64), np.empty(2 * len(rows) + 2, np.int64), 1
    stack, constant = np.empty(2 * len(rows) + 2, np.int64), np.empty(2 * len(rows) + 2, np.int64)
    aside = np.empty(len(rows), np.uint32)
    starts[0], ends[0], stack[0], constant[0] = 0, len(rows), 0, 0
    depth = 1
    while depth:
        depth -= 1
        node = stack[depth]
        start, end = starts[node], ends[node]
        mine = rows[start:end]
        whole = enter(here, mine, labels, weights)
        for c in range(n_classes):
            value[node, c] = here.total[c] / whole
        child[node] = 0
        if here.size[1] < 2 or end - start < 2 * min_leaf:
            continue
        best, best_feature, best_threshold, above = -1.0, -1, np.float32(0.0), 0
        # What does not vary here does not below either: such columns stand first in `order`, and are not drawn again.
        fixed, drawable = constant[node], n_features
        for _ in range(n_features):
            if n_features - drawable >= n_tried or drawable <= fixed:
                break
            at = fixed + below(state, drawable - fixed)
            f = order[at]
            if is_best:
                gain, group = best_cut(groups[f], mine, weights, here, whole, min_leaf)
                varies = bool(gain > CONSTANT)
                if gain > best:
                    best, best_feature, above = gain, f, group
            else:
                low, high = read(here, columns[f], mine)
                varies = bool(high > low)
                if varies:
                    cut = np.float32(low + uniform(state) * (high - low))
                    if cut >= high:
                        cut = low
                    gain = purity_at(cut, here, weights, whole, min_leaf)
                    if gain > best:
                        best, best_feature, best_threshold = gain, f, cut
            if varies:
                drawable -= 1
                order[at], order[drawable] = order[drawable], f
            else:
                order[at], order[fixed] = order[fixed], f
                fixed += 1
        if best_feature < 0:
            continue
        column = columns[best_feature]
        if is_best:
            best_threshold = between(column, groups[best_feature], mine, above)
        n_left = n_right = 0
        for row in mine:
            if column[row] <= best_threshold:
                mine[n_left] = row
                n_left += 1
            else:
                aside[n_right] = row
                n_right += 1
        mine[n_left:] = aside[:n_right]
        feature[node], threshold[node], child[node] = best_feature, best_threshold, nodes
        middle = start + n_left
        starts[nodes], ends[nodes], starts[nodes + 1], ends[nodes + 1] = start, middle, middle, end
        stack[depth], stack[depth + 1] = nodes, nodes + 1
        constant[nodes] = constant[nodes + 1] = fixed
        depth += 2
        nodes += 2
    return nodes
