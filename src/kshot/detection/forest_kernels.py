"""The forest's two inner loops: growing trees, by random or by best cuts, and walking rows down them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.detection.cut_kernels import Desk, best_cut, new_desk, purity_at, rank_columns
from kshot.jit import njit, njit_inline

NODE = np.dtype(
    [("threshold", np.float32), ("feature", np.uint32), ("child", np.uint32), ("label", np.uint32)], align=True
)
"""One node in 16 bytes: a row goes to `child` + (its feature > threshold); `label` is the class of a pure leaf."""
MIXED = np.uint32(0xFFFFFFFF)
"""`label` where a node holds several classes."""
_BLOCK_ROWS = 64


@njit_inline
def _next(state: NDArray[np.uint64]) -> np.uint64:
    """SplitMix64 (Steele, Lea and Flood 2014): a generator of our own, so that no global state is shared."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(z ^ (z >> np.uint64(31)))


@njit_inline
def _uniform(state: NDArray[np.uint64]) -> float:
    """In [0, 1)."""
    return float(_next(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit_inline
def _below(state: NDArray[np.uint64], n: int) -> int:
    """A whole number in [0, n)."""
    return min(int(_uniform(state) * n), n - 1)


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
        if _uniform(state) * members[c] < wanted[c]:
            chosen[n] = i
            n += 1
            wanted[c] -= 1
        members[c] -= 1
    return n


@njit
def grow_tree(
    columns: NDArray[np.float32],
    ranks: NDArray[np.int64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
    n_tried: int,
    min_leaf: int,
    is_best: bool,
    state: NDArray[np.uint64],
    desk: Desk,
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    value: NDArray[np.float32],
) -> int:
    """Grow one tree on `rows` of `columns` (features, n); fill the node arrays and return the number of nodes.

    At each node `n_tried` features that vary there get one threshold each, uniform at random (Geurts et al. 2006) or,
    with `is_best`, where weighted Gini impurity falls most (Breiman 2001; `ranks` are those of `rank_columns`), and
    the greatest fall wins. The left child of node i is child[i], the right one the next; child is 0 at a leaf. `value`
    (nodes, classes) holds class shares.
    """
    n_features, n_classes = columns.shape[0], value.shape[1]
    order = np.arange(n_features)
    starts, ends, nodes = np.empty(2 * len(rows) + 2, np.int64), np.empty(2 * len(rows) + 2, np.int64), 1
    stack = np.empty(2 * len(rows) + 2, np.int64)
    starts[0], ends[0], stack[0] = 0, len(rows), 0
    depth = 1
    total = np.empty(n_classes)
    while depth:
        depth -= 1
        node = stack[depth]
        start, end = starts[node], ends[node]
        total[:] = 0.0
        for i in range(start, end):
            total[labels[rows[i]]] += weights[labels[rows[i]]]
        whole = total.sum()
        present = 0
        for c in range(n_classes):
            value[node, c] = total[c] / whole
            present += total[c] > 0.0
        child[node] = 0
        if present < 2 or end - start < 2 * min_leaf:
            continue
        best, best_feature, best_threshold = -1.0, -1, np.float32(0.0)
        tried, left_to_draw = 0, n_features
        while tried < n_tried and left_to_draw:
            at = _below(state, left_to_draw)
            left_to_draw -= 1
            f = order[at]
            order[at], order[left_to_draw] = order[left_to_draw], f
            column = columns[f]
            low = high = column[rows[start]]
            for i in range(start + 1, end):
                x = column[rows[i]]
                if x < low:
                    low = x
                elif x > high:
                    high = x
            if not high > low:
                continue
            tried += 1
            here = rows[start:end]
            if is_best:
                gain, cut = best_cut(column, ranks[f], labels, weights, here, total, min_leaf, desk)
            else:
                cut = np.float32(low + _uniform(state) * (high - low))
                if cut >= high:
                    cut = low
                gain = purity_at(cut, column, labels, weights, here, total, min_leaf, desk)
            if gain > best:
                best, best_feature, best_threshold = gain, f, cut
        if best_feature < 0:
            continue
        column = columns[best_feature]
        i, j = start, end - 1
        while i <= j:
            if column[rows[i]] <= best_threshold:
                i += 1
            else:
                rows[i], rows[j] = rows[j], rows[i]
                j -= 1
        feature[node], threshold[node], child[node] = best_feature, best_threshold, nodes
        starts[nodes], ends[nodes], starts[nodes + 1], ends[nodes + 1] = start, i, i, end
        stack[depth], stack[depth + 1] = nodes, nodes + 1
        depth += 2
        nodes += 2
    return nodes


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
            row, other = own[k % n_own], benign[_below(state, n_benign)]
            for source in range(len(taken)):
                taken[source] = _uniform(state) < share
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
    desk = new_desk(room_for, n_classes)
    ranks = rank_columns(columns) if is_best else np.empty((0, 0), np.int64)
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
        n_nodes = grow_tree(
            wide,
            ranks,
            known,
            weights,
            rows,
            n_tried,
            min_leaf,
            is_best,
            state,
            desk,
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
                for _ in range(steps[t]):
                    of_a, of_b, of_c, of_d = nodes[a], nodes[b], nodes[c], nodes[d]
                    a = np.uint32(of_a["child"] + np.uint32(rows[i, of_a["feature"]] > of_a["threshold"]))
                    b = np.uint32(of_b["child"] + np.uint32(rows[i + 1, of_b["feature"]] > of_b["threshold"]))
                    c = np.uint32(of_c["child"] + np.uint32(rows[i + 2, of_c["feature"]] > of_c["threshold"]))
                    d = np.uint32(of_d["child"] + np.uint32(rows[i + 3, of_d["feature"]] > of_d["threshold"]))
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
