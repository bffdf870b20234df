"""Mid-ranks without scipy.stats, which takes longer to import than a small import of data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def mid_ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return (n,) ranks from 1; equal values share the mean of theirs. NaN is not allowed.

    >>> mid_ranks(np.array([7.0, 3.0, 7.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2.0)[place], np.float64)
