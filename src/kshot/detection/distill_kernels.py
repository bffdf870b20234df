"""Small boosted trees of one depth: grown on binned columns, and rows walked down them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit

_RIDGE = 1.0
"""Rows of nothing that every leaf holds beside its own: few rows say little."""
_BLOCK_ROWS = 64


@njit
def grow_boosted(
    bins: NDArray[np.uint8],
    edges: NDArray[np.float32],
    n_edges: NDArray[np.int64],
    target: NDArray[np.float64],
    drawn: NDArray[np.int64],
    depth: int,
    rate: float,
    min_leaf: int,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Boost squared loss (Friedman 2001) with trees of `depth` levels, each on its own `drawn` (trees, tried) columns.

    Parameters:
        bins: (columns, n) how many of a column's edges each value lies above; 0 where it is missing.
        edges: (columns, most) rising, `n_edges` (columns,) of them in use.
        target: (n,) what to tell.

    Returns (trees, 2^depth - 1) column and threshold of each inner node, breadth first, and (trees, 2^depth) leaves;
    a node that is not worth a cut sends every row left.
    """
    n, n_trees = bins.shape[1], drawn.shape[0]
    most = edges.shape[1] + 1
    inner, leaves = (1 << depth) - 1, 1 << depth
    feature = np.zeros((n_trees, inner), np.int32)
    threshold = np.full((n_trees, inner), np.inf, np.float32)
    value = np.zeros((n_trees, leaves), np.float32)
    left = target.copy()
    node = np.empty(n, np.int64)
    total, count = np.empty((leaves, most)), np.empty((leaves, most))
    for t in range(n_trees):
        node[:] = 0
        for level in range(depth):
            width = 1 << level
            first = width - 1
            best = np.zeros(width)
            at_bin = np.full(width, most, np.int64)
            of = np.zeros(width, np.int64)
            for f in drawn[t]:
                if n_edges[f] == 0:
                    continue
                total[:width] = 0.0
                count[:width] = 0.0
                for i in range(n):
                    total[node[i], bins[f, i]] += left[i]
                    count[node[i], bins[f, i]] += 1.0
                for k in range(width):
                    whole, rows = total[k].sum(), count[k].sum()
                    below, fewer = 0.0, 0.0
                    base = whole * whole / (rows + _RIDGE)
                    for b in range(n_edges[f]):
                        below += total[k, b]
                        fewer += count[k, b]
                        if fewer < min_leaf:
                            continue
                        if rows - fewer < min_leaf:
                            break
                        above = whole - below
                        gain = below * below / (fewer + _RIDGE) + above * above / (rows - fewer + _RIDGE) - base
                        if gain > best[k]:
                            best[k], at_bin[k], of[k] = gain, b, f
            for k in range(width):
                if at_bin[k] < most:
                    feature[t, first + k] = of[k]
                    threshold[t, first + k] = edges[of[k], at_bin[k]]
            for i in range(n):
                k = node[i]
                node[i] = 2 * k + (at_bin[k] < most and bins[of[k], i] > at_bin[k])
        sums, rows_in = np.zeros(leaves), np.zeros(leaves)
        for i in range(n):
            sums[node[i]] += left[i]
            rows_in[node[i]] += 1.0
        for k in range(leaves):
            value[t, k] = rate * sums[k] / (rows_in[k] + _RIDGE)
        for i in range(n):
            left[i] -= value[t, node[i]]
    return feature, threshold, value


@njit
def bin_rows(rows: NDArray[np.float32], edges: NDArray[np.float32], n_edges: NDArray[np.int64]) -> NDArray[np.uint8]:
    """(n, columns) values -> (columns, n) how many of their column's edges lie below each; 0 where missing."""
    n, width = rows.shape
    bins = np.zeros((width, n), np.uint8)
    for f in range(width):
        for i in range(n):
            if rows[i, f] == rows[i, f]:
                bins[f, i] = np.searchsorted(edges[f, : n_edges[f]], rows[i, f])
    return bins


@njit
def boosted_scores(
    rows: NDArray[np.float32],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    value: NDArray[np.float32],
    base: float,
) -> NDArray[np.float32]:
    """(n, columns) rows in C order -> (n,) sums over the trees; missing values go left.

    Four rows go down a tree side by side, since a step waits for the one before it and not for the neighbour's; a block
    of rows stays in the cache for all trees.
    """
    n, n_trees, inner = len(rows), feature.shape[0], feature.shape[1]
    out = np.full(n, np.float32(base), np.float32)
    for start in range(0, n, _BLOCK_ROWS):
        end = min(n, start + _BLOCK_ROWS)
        in_fours = end - (end - start) % 4
        for t in range(n_trees):
            of, cut, leaf = feature[t], threshold[t], value[t]
            for i in range(start, in_fours, 4):
                a = b = c = d = 0
                while a < inner:
                    a = 2 * a + 1 + (rows[i, of[a]] > cut[a])
                    b = 2 * b + 1 + (rows[i + 1, of[b]] > cut[b])
                    c = 2 * c + 1 + (rows[i + 2, of[c]] > cut[c])
                    d = 2 * d + 1 + (rows[i + 3, of[d]] > cut[d])
                out[i] += leaf[a - inner]
                out[i + 1] += leaf[b - inner]
                out[i + 2] += leaf[c - inner]
                out[i + 3] += leaf[d - inner]
            for i in range(in_fours, end):
                a = 0
                while a < inner:
                    a = 2 * a + 1 + (rows[i, of[a]] > cut[a])
                out[i] += leaf[a - inner]
    return out
