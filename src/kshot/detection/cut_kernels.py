"""Where a tree may cut a column at a node: anywhere at random, or where shots and reference part best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit, njit_inline


class Desk(NamedTuple):
    """Room to work in, for nodes of up to n rows, so that no node asks for memory."""

    left: NDArray[np.float64]
    """(classes,) weight of each class left of a cut."""
    ordered: NDArray[np.int64]
    """(n,) a node's rows by their value, rising."""
    counts: NDArray[np.int64]
    """(n + 2,) where the rows of each rank begin."""


@njit
def new_desk(n_rows: int, n_classes: int) -> Desk:
    """Make room for nodes of up to `n_rows`."""
    return Desk(np.empty(n_classes), np.empty(n_rows, np.int64), np.empty(n_rows + 2, np.int64))


@njit_inline
def _purity(left: NDArray[np.float64], total: NDArray[np.float64]) -> float:
    """What is left of the weighted Gini impurity, so turned that the greatest is the best."""
    whole, of_left, squares_left, squares_right = 0.0, 0.0, 0.0, 0.0
    for c in range(len(total)):
        whole += total[c]
        of_left += left[c]
        squares_left += left[c] * left[c]
        squares_right += (total[c] - left[c]) ** 2
    return float(squares_left / of_left + squares_right / max(whole - of_left, 1e-300))


@njit_inline
def _below(low: np.float32, high: np.float32) -> np.float32:
    """Halfway from `low` up to `high`, but never as far as `high`."""
    cut = np.float32((np.float64(low) + np.float64(high)) / 2)
    return cut if low <= cut < high else low


@njit
def purity_at(
    cut: np.float32,
    column: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
    total: NDArray[np.float64],
    min_leaf: int,
    desk: Desk,
) -> float:
    """Purity of the two sides of `cut` among `rows`; -1 where a side has fewer than `min_leaf`."""
    left = desk.left
    left[:] = 0.0
    n_left = 0
    for row in rows:
        if column[row] <= cut:
            left[labels[row]] += weights[labels[row]]
            n_left += 1
    if n_left < min_leaf or len(rows) - n_left < min_leaf:
        return -1.0
    return _purity(left, total)


@njit
def rank_columns(columns: NDArray[np.float32]) -> NDArray[np.int64]:
    """(features, n) values -> (features, n) which of its column's distinct values each is, from 0 up."""
    n_features, n = columns.shape
    ranks = np.empty((n_features, n), np.int64)
    for f in range(n_features):
        order = np.argsort(columns[f])
        rank = 0
        for i in range(n):
            if i and columns[f, order[i]] != columns[f, order[i - 1]]:
                rank += 1
            ranks[f, order[i]] = rank
    return ranks


@njit
def best_cut(
    column: NDArray[np.float32],
    ranks: NDArray[np.int64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
    total: NDArray[np.float64],
    min_leaf: int,
    desk: Desk,
) -> tuple[float, np.float32]:
    """Return the purest cut of `column` among `rows` and its purity; -1 where there is none.

    Only next to a value of a row that is not benign can it lie (Fayyad and Irani 1992). Going through the rows by their
    value, a row that changes sides changes the sums of squares by its own class's share alone.
    """
    n = len(rows)
    _order(ranks, rows, desk)
    ordered, left = desk.ordered, desk.left
    left[:] = 0.0
    whole, of_left, squares_left, squares_right = 0.0, 0.0, 0.0, 0.0
    for c in range(len(total)):
        whole += total[c]
        squares_right += total[c] * total[c]
    best, cut = -1.0, np.float32(0.0)
    start, shots_before = 0, False
    while start < n:
        rank = ranks[ordered[start]]
        end, has_shots = start, False
        while end < n and ranks[ordered[end]] == rank:
            has_shots |= labels[ordered[end]] > 0
            end += 1
        if (has_shots or shots_before) and start >= min_leaf and n - start >= min_leaf:
            purity = squares_left / of_left + max(squares_right, 0.0) / max(whole - of_left, 1e-300)
            if purity > best:
                best, cut = purity, _below(column[ordered[start - 1]], column[ordered[start]])
        for at in range(start, end):
            c = labels[ordered[at]]
            w = weights[c]
            squares_left += w * (2.0 * left[c] + w)
            squares_right -= w * (2.0 * (total[c] - left[c]) - w)
            left[c] += w
            of_left += w
        start, shots_before = end, has_shots
    return best, cut


@njit
def _order(ranks: NDArray[np.int64], rows: NDArray[np.int64], desk: Desk) -> None:
    """Fill `desk.ordered` with `rows` by their rank, rising: by counting, or where that is more work by sorting."""
    ordered, counts, n = desk.ordered, desk.counts, len(rows)
    low = high = ranks[rows[0]]
    for row in rows:
        low, high = min(low, ranks[row]), max(high, ranks[row])
    if high - low > 4 * n:
        for i in range(n):
            ordered[i] = ranks[rows[i]] << 32 | rows[i]
        ordered[:n].sort()
        for i in range(n):
            ordered[i] &= 0xFFFFFFFF
        return
    counts[: high - low + 2] = 0
    for row in rows:
        counts[ranks[row] - low + 1] += 1
    for rank in range(1, high - low + 1):
        counts[rank] += counts[rank - 1]
    for row in rows:
        at = ranks[row] - low
        ordered[counts[at]] = row
        counts[at] += 1
