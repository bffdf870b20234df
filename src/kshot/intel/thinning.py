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

    Farthest-point traversal (Gonzalez 1985) finds rows far apart, so that a rare variant is not lost
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
    points = comparable(frame[pool])
    chosen = _farthest(points, most, random_state)
    for _ in range(_SWAPS):
        chosen = _to_medoids(points, chosen)
    return np.sort(pool[np.unique(chosen)])


def comparable(frame: pl.DataFrame) -> NDArray[np.float32]:
    """(n, columns) numbers of one scale: asinh of the distance from the median in mean absolute deviations.

    Near the median it is linear, far from it logarithmic: a rare variant stays far from the crowd (among its ranks it
    would be the crowd's neighbour), and no single cell outweighs all others. Texts count by length, digits and
    frequency; a missing value stands at the median.
    """
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
        columns += [_scaled(number.cast(pl.Float64, strict=False).fill_nan(None)) for number in numbers]
    return np.stack(columns, axis=1) if columns else np.zeros((frame.height, 1), dtype=np.float32)


def _scaled(number: pl.Series) -> NDArray[np.float32]:
    values = number.to_numpy().astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values), dtype=np.float32)
    away = np.nan_to_num(values - np.median(values[finite]), nan=0.0, posinf=1e30, neginf=-1e30)
    spread = np.abs(away[finite]).mean()
    scaled: NDArray[np.float32] = np.arcsinh(away / spread if spread > 0 else away).astype(np.float32)
    return scaled


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
