"""Thin many shots to a few that stand for all of them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

_POOL_ROWS = 20_000
"""Beyond so many candidates a random sample of them is looked at: the distances would cost more than they tell."""
_SWAPS = 2
"""Rounds of moving each chosen row to the middle of the rows nearest to it."""


def thin(frame: pl.DataFrame, most: int, random_state: np.random.Generator) -> NDArray[np.int64]:
    """Choose at most `most` rows that cover the rest, as indices in ascending order.

    Farthest-point traversal (Gonzalez 1985) in rank space finds rows far apart, so that a rare variant is not lost
    among a thousand like it; each is then moved to the medoid of the rows nearest to it, so that no outlier
    stands for a crowd.

    Parameters:
        frame: (n, columns) candidates; numbers, flags and texts.
        most: how many to keep, at least 1.
        random_state: decides the first row, ties and the sample when n is large.
    """
    n = frame.height
    if n <= most:
        return np.arange(n)
    pool = np.arange(n) if n <= _POOL_ROWS else np.sort(random_state.choice(n, _POOL_ROWS, replace=False))
    points = rank_space(frame[pool])
    chosen = _farthest(points, most, random_state)
    for _ in range(_SWAPS):
        chosen = _to_medoids(points, chosen)
    return np.sort(pool[np.unique(chosen)])


def rank_space(frame: pl.DataFrame) -> NDArray[np.float32]:
    """(n, columns) mid-ranks in 0..1, a missing value in the middle; texts by how common they are and how long."""
    n = frame.height
    columns: list[NDArray[np.float32]] = []
    for series in frame:
        if series.dtype == pl.String or series.dtype in (pl.Categorical, pl.Enum):
            text = series.cast(pl.String)
            numbers = [
                text.str.len_chars(),
                text.str.count_matches("[0-9]"),
                pl.DataFrame({"t": text}).select(pl.len().over("t")).to_series(),
            ]
        else:
            numbers = [series]
        for number in numbers:
            # NaN is as missing as null: neither says where the row stands.
            ranks = number.cast(pl.Float64, strict=False).fill_nan(None).rank("average") / n
            columns.append(ranks.fill_null(0.5).to_numpy().astype(np.float32))
    return np.stack(columns, axis=1) if columns else np.zeros((n, 1), dtype=np.float32)


def _farthest(points: NDArray[np.float32], most: int, random_state: np.random.Generator) -> NDArray[np.int64]:
    """(most,) rows, each the farthest from those before it; the first lies nearest to the median."""
    jitter = random_state.random(len(points)).astype(np.float32) * np.float32(1e-6)
    first = int(np.argmin(np.square(points - np.median(points, axis=0)).sum(axis=1) + jitter))
    chosen = np.empty(most, dtype=np.int64)
    chosen[0] = first
    nearest = np.square(points - points[first]).sum(axis=1)
    for i in range(1, most):
        chosen[i] = int(np.argmax(nearest + jitter))
        nearest = np.minimum(nearest, np.square(points - points[chosen[i]]).sum(axis=1))
        # A row already chosen, or equal to one, adds nothing while others are left.
        nearest[chosen[: i + 1]] = -1.0
    return chosen


def _to_medoids(points: NDArray[np.float32], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move each chosen row to the one nearest to the mean of the rows it stands for."""
    squares = np.square(points).sum(axis=1)
    distances = squares[:, None] - 2.0 * points @ points[chosen].T + squares[chosen][None, :]
    owner = np.argmin(distances, axis=1)
    owner[chosen] = np.arange(len(chosen))
    moved = chosen.copy()
    for i in range(len(chosen)):
        members = np.flatnonzero(owner == i)
        middle = points[members].mean(axis=0)
        moved[i] = members[int(np.argmin(np.square(points[members] - middle).sum(axis=1)))]
    return moved
