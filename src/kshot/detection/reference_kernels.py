"""Values looked up among the reference's, and rows' nearest reference rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from kshot.jit import njit, njit_inline

_BLOCK_ROWS = 256
_FARTHEST = 1e15
_CANDIDATES = 16


@njit_inline
def _place(levels: NDArray[np.float64], start: int, end: int, value: float) -> int:
    """Where, from `start`, the first of the rising levels stands that is not below `value`; `end` if none is."""
    length = end - start
    while length > 0:
        half = length >> 1
        if levels[start + half] < value:
            start += half + 1
            length -= half + 1
        else:
            length = half
    return start


@njit
def describe(
    values: NDArray[np.float64],
    levels: NDArray[np.float64],
    starts: NDArray[np.int64],
    tied: NDArray[np.float64],
    between: NDArray[np.float64],
    median: NDArray[np.float64],
    scale: NDArray[np.float64],
    absent: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(n, d) finite values, NaN where missing -> raw, normal quantile and tail of each, as `reference.Cells` has them.

    Column j's distinct reference values are levels[starts[j]:starts[j + 1]], rising; `tied` holds the quantile of each
    and `between` that of what lies before each and, at starts[j + 1] + j, after the last.
    """
    n, width = values.shape
    raw, gauss, tail = np.empty((n, width)), np.zeros((n, width)), np.zeros((n, width))
    for first in range(0, n, _BLOCK_ROWS):
        last = min(n, first + _BLOCK_ROWS)
        for j in range(width):
            start, end = starts[j], starts[j + 1]
            before, gauss_before, tail_before = np.nan, 0.0, 0.0
            for i in range(first, last):
                value = values[i, j]
                if value != value:
                    raw[i, j] = absent[j]
                    continue
                raw[i, j] = value
                if value != before:  # floods and scans repeat themselves
                    before, gauss_before = value, 0.0
                    far = (value - median[j]) / scale[j]
                    tail_before = math.asinh(min(max(far, -_FARTHEST), _FARTHEST))
                    if end > start:
                        at = _place(levels, start, end, value)
                        is_tied = at < end and levels[at] == value
                        gauss_before = tied[at] if is_tied else between[at + j]
                gauss[i, j], tail[i, j] = gauss_before, tail_before
    return raw, gauss, tail


@njit_inline
def _squared_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """By four sums side by side, for none need wait for another."""
    a = b = c = d = 0.0
    width = len(one)
    in_fours = width - width % 4
    for j in range(0, in_fours, 4):
        p, q, r, s = one[j] - other[j], one[j + 1] - other[j + 1], one[j + 2] - other[j + 2], one[j + 3] - other[j + 3]
        a, b, c, d = a + p * p, b + q * q, c + r * r, d + s * s
    for j in range(in_fours, width):
        p = one[j] - other[j]
        a += p * p
    return (a + b) + (c + d)


@njit
def mean_nearest(
    rows: NDArray[np.float64],
    reference: NDArray[np.float64],
    squares: NDArray[np.float64],
    products: NDArray[np.float32],
    count: int,
    own: int,
) -> NDArray[np.float64]:
    """(n, d) rows -> (n,) mean distance to the `count` nearest of the (m, d) reference rows.

    `products` (n, m) of rows and reference, in single precision, tell the candidates; among them distances are exact.
    Row i is not its own neighbour where `own` is not negative: it is reference row own + i.
    """
    n, m = products.shape
    out = np.empty(n)
    wanted = min(m, _CANDIDATES)
    near, which = np.empty(wanted), np.empty(wanted, np.int64)
    for i in range(n):
        near[:] = np.inf
        which[:] = -1
        worst = np.inf
        for k in range(m):
            distance = squares[k] - 2.0 * products[i, k]
            if distance < worst and not (own >= 0 and k == own + i):
                at = wanted - 1
                while at > 0 and near[at - 1] > distance:
                    near[at], which[at] = near[at - 1], which[at - 1]
                    at -= 1
                near[at], which[at] = distance, k
                worst = near[wanted - 1]
        for c in range(wanted):
            near[c] = np.inf
            if which[c] >= 0:
                near[c] = _squared_distance(rows[i], reference[which[c]])
        near.sort()
        total = 0.0
        for c in range(count):
            total += math.sqrt(near[c]) if near[c] < np.inf else 0.0
        out[i] = total / count
    return out
