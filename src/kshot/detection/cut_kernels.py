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
    shots: NDArray[np.float32]
    """(n,) distinct values of the rows that are not benign, rising."""
    weight_at: NDArray[np.float64]
    """(n, classes) weight of the rows that hold each of these values."""
    rows_at: NDArray[np.int64]
    """(n,) their number."""
    between: NDArray[np.int64]
    """(n + 1,) benign rows strictly between two of them, before the first and after the last."""
    low: NDArray[np.float32]
    """(n + 1,) least value of these."""
    high: NDArray[np.float32]
    """(n + 1,) greatest value of these."""


@njit
def new_desk(n_rows: int, n_classes: int) -> Desk:
    """Make room for nodes of up to `n_rows`."""
    return Desk(
        np.empty(n_classes),
        np.empty(n_rows, np.float32),
        np.empty((n_rows, n_classes)),
        np.empty(n_rows, np.int64),
        np.empty(n_rows + 1, np.int64),
        np.empty(n_rows + 1, np.float32),
        np.empty(n_rows + 1, np.float32),
    )


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
def best_cut(
    column: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
    total: NDArray[np.float64],
    min_leaf: int,
    desk: Desk,
) -> tuple[float, np.float32]:
    """Return the purest cut of `column` among `rows`, some of them not benign, and its purity; -1 where there is none.

    Only next to a value of a row that is not benign can it lie (Fayyad and Irani 1992): with few shots a handful of
    places, found by one pass over the rows, without sorting them.
    """
    n_shots = _meet_shots(column, labels, weights, rows, desk)
    shots, left = desk.shots, desk.left
    left[:] = 0.0
    n_left = 0
    best, cut = -1.0, np.float32(0.0)
    for k in range(n_shots + 1):
        if k > 0:  # right after the shots of the value before
            for c in range(len(total)):
                left[c] += desk.weight_at[k - 1, c]
            n_left += desk.rows_at[k - 1]
            if desk.between[k] == 0 and k == n_shots:
                break
            after = desk.low[k] if desk.between[k] else shots[k]
            if n_left >= min_leaf and len(rows) - n_left >= min_leaf:
                purity = _purity(left, total)
                if purity > best:
                    best, cut = purity, _below(shots[k - 1], after)
        if desk.between[k] and k < n_shots:  # right before the shots of the next value
            left[0] += desk.between[k] * weights[0]
            n_left += desk.between[k]
            if n_left >= min_leaf and len(rows) - n_left >= min_leaf:
                purity = _purity(left, total)
                if purity > best:
                    best, cut = purity, _below(desk.high[k], shots[k])
    return best, cut


@njit
def _meet_shots(
    column: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64],
    desk: Desk,
) -> int:
    """Fill `desk` from the column's values in `rows`; return the number of distinct ones of rows not benign."""
    n = 0
    for row in rows:
        if labels[row] > 0:
            desk.shots[n] = column[row]
            n += 1
    ordered = np.sort(desk.shots[:n])
    n_shots = 0
    for value in ordered:
        if n_shots == 0 or value != desk.shots[n_shots - 1]:
            desk.shots[n_shots] = value
            n_shots += 1
    desk.weight_at[:n_shots] = 0.0
    desk.rows_at[:n_shots] = 0
    desk.between[: n_shots + 1] = 0
    for row in rows:
        value = column[row]
        at, end = 0, n_shots
        while at < end:
            middle = (at + end) // 2
            if desk.shots[middle] < value:
                at = middle + 1
            else:
                end = middle
        if at < n_shots and desk.shots[at] == value:
            desk.weight_at[at, labels[row]] += weights[labels[row]]
            desk.rows_at[at] += 1
            continue
        if desk.between[at] == 0 or value < desk.low[at]:
            desk.low[at] = value
        if desk.between[at] == 0 or value > desk.high[at]:
            desk.high[at] = value
        desk.between[at] += 1
    return n_shots
