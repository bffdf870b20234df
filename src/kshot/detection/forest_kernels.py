"""The inner loops of forests: growing trees, each on its own rows, and walking rows down them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.detection.cut_kernels import group_values, new_node
from kshot.detection.tree_kernels import below, by_class, draw_rows, grow_tree, uniform
from kshot.jit import njit

NODE = np.dtype(
    [("threshold", np.float32), ("feature", np.uint32), ("child", np.uint32), ("label", np.uint32)], align=True
)
"""One node in 16 bytes: a row goes to `child` + (its feature > threshold); `label` is the class of a pure leaf."""
MIXED = np.uint32(0xFFFFFFFF)
"""`label` where a node holds several classes."""
_BLOCK_ROWS = 64
_STEPS = 4
"""Down a tree, before it is looked whether all have arrived: looking at each costs more than it saves."""


@njit
def add_crosses(
    columns: NDArray[np.float32],
    sources: NDArray[np.int64],
    labels: NDArray[np.int64],
    n: int,
    n_rows: int,
    chosen: NDArray[np.int64],
    n_crosses: int,
    share: float,
    state: NDArray[np.uint64],
) -> int:
    """Make up `n_crosses` rows of each class but 0 and append them to the `n_rows` that are `chosen`; return their sum.

    Each is a chosen row of its class in which every input column is, at the odds `share`, that of one chosen row of
    class 0. They fill `columns` (features, more than n) and `labels` from row `n` on, class by class; `sources`
    (features,) says of which input column a feature is made.
    """
    taken = np.empty(sources.max() + 1, np.bool_)
    own, benign = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)
    n_benign = 0
    for row in chosen[:n_rows]:
        if labels[row] == 0:
            benign[n_benign] = row
            n_benign += 1
    filled, made = n_rows, n
    for c in range(1, labels[:n].max() + 1 if n_benign else 1):
        n_own = 0
        for row in chosen[:n_rows]:
            if labels[row] == c:
                own[n_own] = row
                n_own += 1
        for k in range(n_crosses if n_own else 0):
            row, other = own[k % n_own], benign[below(state, n_benign)]
            for source in range(len(taken)):
                taken[source] = uniform(state) < share
            for f in range(len(columns)):
                columns[f, made] = columns[f, other if taken[sources[f]] else row]
            labels[made] = c
            chosen[filled] = made
            made += 1
            filled += 1
    return filled


@njit
def grow_forest(
    columns: NDArray[np.float32],
    sources: NDArray[np.int64],
    labels: NDArray[np.int64],
    keep: NDArray[np.float64],
    n_crosses: int,
    share_crossed: float,
    n_trees: int,
    n_tried: int,
    min_leaf: int,
    is_best: bool,
    seed: int,
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.float64],
    NDArray[np.float64],
]:
    """Grow `n_trees` as `grow_tree` does; every second one sees, of each class but 0, `n_crosses` made-up rows beside.

    Returns root offsets, nodes, and per row summed shares and count over trees that left it out.
    """
    n, n_classes = columns.shape[1], len(keep)
    state = np.array([seed], np.uint64)
    room_for = n + n_crosses * (n_classes - 1)
    wide, known = np.empty((len(columns), room_for), np.float32), np.zeros(room_for, np.int64)
    wide[:, :n], known[:n] = columns, labels
    chosen = np.empty(room_for, np.int64)
    most = 2 * room_for + 2
    feature, threshold = np.empty(most, np.int32), np.empty(most, np.float32)
    child, value = np.empty(most, np.int32), np.empty((most, n_classes), np.float32)
    roots = np.zeros(n_trees + 1, np.int64)
    room = 64 * n_trees
    features, thresholds = np.empty(room, np.int32), np.empty(room, np.float32)
    children, values = np.empty(room, np.int32), np.empty((room, n_classes), np.float32)
    left_out, times = np.zeros((n, n_classes)), np.zeros(n)
    weights = np.empty(n_classes)
    inside = np.empty(room_for, np.bool_)
    here = new_node(room_for, n_classes)
    groups = group_values(columns, labels) if is_best else np.empty((0, 0), np.int32)
    sorted_rows = np.empty(room_for, np.uint32)
    for t in range(n_trees):
        n_rows = draw_rows(labels, keep, state, chosen)
        if n_crosses and t % 2:
            n_rows = add_crosses(wide, sources, known, n, n_rows, chosen, n_crosses, share_crossed, state)
        rows = chosen[:n_rows]
        weights[:] = 0.0
        inside[:] = False
        for i in rows:
            weights[known[i]] += 1.0
            inside[i] = True
        for c in range(n_classes):
            weights[c] = 1.0 / max(weights[c], 1.0)
        by_class(rows, known, n_classes, sorted_rows)
        n_nodes = grow_tree(
            wide,
            groups,
            known,
            weights,
            sorted_rows[:n_rows],
            n_tried,
            min_leaf,
            is_best,
            state,
            here,
            feature,
            threshold,
            child,
            value,
        )
        at = roots[t]
        if at + n_nodes > room:
            room = 2 * (at + n_nodes)
            features = _longer(features, room)
            longer = np.empty(room, np.float32)
            longer[:at] = thresholds[:at]
            thresholds = longer
            children = _longer(children, room)
            taller = np.empty((room, n_classes), np.float32)
            taller[:at] = values[:at]
            values = taller
        features[at : at + n_nodes], thresholds[at : at + n_nodes] = feature[:n_nodes], threshold[:n_nodes]
        children[at : at + n_nodes], values[at : at + n_nodes] = child[:n_nodes], value[:n_nodes]
        roots[t + 1] = at + n_nodes
        for i in range(n):
            if not inside[i]:
                node = 0
                while child[node]:
                    node = child[node] + (columns[feature[node], i] > threshold[node])
                for c in range(n_classes):
                    left_out[i, c] += value[node, c]
                times[i] += 1.0
    end = roots[n_trees]
    return roots, features[:end], thresholds[:end], children[:end], values[:end], left_out, times


@njit
def _longer(array: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    longer = np.empty(length, array.dtype)
    longer[: len(array)] = array
    return longer


@njit
def pack(
    nodes: NDArray[np.void],
    roots: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    value: NDArray[np.float32],
    steps: NDArray[np.int64],
) -> None:
    """Fill `nodes` (NODE) and `steps`, the depth of each tree, from the arrays that `grow_forest` returns.

    A leaf becomes its own child: nothing exceeds its threshold. So a walk of as many steps as the tree is deep ends at
    the right leaf without asking on the way whether it is there.
    """
    depth = np.zeros(len(nodes), np.int64)
    for t in range(len(roots) - 1):
        root, steps[t] = roots[t], 0
        for i in range(root, roots[t + 1]):
            node = nodes[i]
            node["label"] = MIXED
            if child[i]:
                node["feature"], node["threshold"], node["child"] = feature[i], threshold[i], root + child[i]
                depth[node["child"]] = depth[node["child"] + 1] = depth[i] + 1
                continue
            node["feature"], node["threshold"], node["child"] = 0, np.inf, i
            steps[t] = max(steps[t], depth[i])
            for c in range(value.shape[1]):
                if value[i, c] == 1.0:
                    node["label"] = c


@njit
def walk(
    rows: NDArray[np.float32],
    nodes: NDArray[np.void],
    roots: NDArray[np.int64],
    steps: NDArray[np.int64],
    value: NDArray[np.float32],
) -> NDArray[np.float64]:
    """(n, features) rows in C order -> (n, classes) class shares, the mean over the trees.

    Four rows go down a tree side by side, since a step waits for the one before it and not for the neighbour's; trees
    stay in the cache for a block of rows.
    """
    n, n_classes, n_trees = len(rows), value.shape[1], len(roots) - 1
    out = np.zeros((n, n_classes))
    at = np.empty(_BLOCK_ROWS, np.uint32)
    for start in range(0, n, _BLOCK_ROWS):
        end = min(n, start + _BLOCK_ROWS)
        in_fours = end - (end - start) % 4
        for t in range(n_trees):
            root = np.uint32(roots[t])
            for i in range(start, in_fours, 4):
                a = b = c = d = root
                for _ in range(0, steps[t], _STEPS):
                    for _ in range(_STEPS):
                        of_a, of_b, of_c, of_d = nodes[a], nodes[b], nodes[c], nodes[d]
                        a = np.uint32(of_a["child"] + np.uint32(rows[i, of_a["feature"]] > of_a["threshold"]))
                        b = np.uint32(of_b["child"] + np.uint32(rows[i + 1, of_b["feature"]] > of_b["threshold"]))
                        c = np.uint32(of_c["child"] + np.uint32(rows[i + 2, of_c["feature"]] > of_c["threshold"]))
                        d = np.uint32(of_d["child"] + np.uint32(rows[i + 3, of_d["feature"]] > of_d["threshold"]))
                    if (
                        nodes[a]["child"] == a
                        and nodes[b]["child"] == b
                        and nodes[c]["child"] == c
                        and nodes[d]["child"] == d
                    ):
                        break
                at[i - start], at[i - start + 1], at[i - start + 2], at[i - start + 3] = a, b, c, d
            for i in range(in_fours, end):
                a = root
                for _ in range(steps[t]):
                    of_a = nodes[a]
                    a = np.uint32(of_a["child"] + np.uint32(rows[i, of_a["feature"]] > of_a["threshold"]))
                at[i - start] = a
            for i in range(start, end):
                leaf = at[i - start]
                label = nodes[leaf]["label"]
                if label != MIXED:
                    out[i, label] += 1.0
                else:
                    for k in range(n_classes):
                        out[i, k] += value[leaf, k]
    for i in range(n):
        for k in range(n_classes):
            out[i, k] /= n_trees
    return out
