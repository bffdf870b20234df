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
    ordered: NDArray[np.uint64]
    """(n,) the value of each row, so turned that it sorts as a whole number, above the row's place."""


@njit
def new_desk(n_rows: int, n_classes: int) -> Desk:
    """Make room for nodes of up to `n_rows`."""
    return Desk(np.empty(n_classes), np.empty(n_rows, np.uint64))


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
    """Return the purest cut of `column` among `rows` and its purity; -1 where there is none.

    Only next to a value of a row that is not benign can it lie (Fayyad and Irani 1992). Going through the rows by their
    value, a row that changes sides changes the sums of squares by its own class's share alone.
    """
    n = len(rows)
    _order(column, rows, desk.ordered)
    left = desk.left
    left[:] = 0.0
    whole, of_left, squares_left, squares_right = 0.0, 0.0, 0.0, 0.0
    for c in range(len(total)):
        whole += total[c]
        squares_right += total[c] * total[c]
    best, cut = -1.0, np.float32(0.0)
    start, value_before, shots_before = 0, np.float32(0.0), False
    while start < n:
        value = column[rows[_place(desk.ordered[start])]]
        end, has_shots = start, False
        while end < n:
            row = rows[_place(desk.ordered[end])]
            if column[row] != value:
                break
            has_shots |= labels[row] > 0
            end += 1
        if (has_shots or shots_before) and start >= min_leaf and n - start >= min_leaf:
            purity = squares_left / of_left + max(squares_right, 0.0) / max(whole - of_left, 1e-300)
            if purity > best:
                best, cut = purity, _below(value_before, value)
        for at in range(start, end):
            c = labels[rows[_place(desk.ordered[at])]]
            w = weights[c]
            squares_left += w * (2.0 * left[c] + w)
            squares_right -= w * (2.0 * (total[c] - left[c]) - w)
            left[c] += w
            of_left += w
        start, value_before, shots_before = end, value, has_shots
    return best, cut


@njit_inline
def _place(word: np.uint64) -> np.int64:
    return np.int64(word & np.uint64(0xFFFFFFFF))


@njit
def _order(column: NDArray[np.float32], rows: NDArray[np.int64], ordered: NDArray[np.uint64]) -> None:
    """Fill `ordered` with the places of `rows`, by the value that `column` has there, rising."""
    values = column.view(np.uint32)
    for place in range(len(rows)):
        bits = values[rows[place]]
        # IEEE 754: negative numbers fall as their bits rise, and lie below all others.
        turned = ~bits if bits >> np.uint32(31) else bits | np.uint32(0x80000000)
        ordered[place] = np.uint64(turned) << np.uint64(32) | np.uint64(place)
    ordered[: len(rows)].sort()
