"""Distance to the nearest reference rows and to the shots, in rank space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kshot.detection.reference_kernels import mean_nearest

Floats = NDArray[np.float64]
_NEIGHBOURS = 5
_CHUNK_ROWS = 250
"""Whose products with two thousand reference rows, 2 MB, stay in the cache until they are looked at."""


class Neighbours:
    """Mean distance to the five nearest reference rows: how unusual a row is, whatever the threats."""

    def __init__(self, reference: Floats) -> None:
        """Keep (n, d) reference rows in rank-Gauss space."""
        self._rows = reference
        self._squares = np.einsum("ij,ij->i", reference, reference)

    def distance(self, rows: Floats) -> Floats:
        """(n,) mean distance to the nearest reference rows."""
        return self._mean_nearest(rows, own=False)

    def held_out(self) -> Floats:
        """(n,) the same for the reference rows, none of them its own neighbour."""
        return self._mean_nearest(self._rows, own=True)

    def _mean_nearest(self, rows: Floats, *, own: bool) -> Floats:
        out = np.empty(len(rows))
        k = max(1, min(_NEIGHBOURS, len(self._rows) - int(own)))
        reference = np.ascontiguousarray(self._rows)
        single = reference.astype(np.float32).T
        for start in range(0, len(rows), _CHUNK_ROWS):
            part = np.ascontiguousarray(rows[start : start + _CHUNK_ROWS])
            products = part.astype(np.float32) @ single
            out[start : start + len(part)] = mean_nearest(
                part, reference, self._squares, products, k, start if own else -1
            )
        return out
