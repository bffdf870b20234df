"""A smooth first look: how much like the shots each row is, when the reference may hide the attack itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.detection.columns import Columns
from kshot.detection.forest import grow
from kshot.detection.reference import Cells, ReferenceScale

Floats = NDArray[np.float64]
_TREES = 200
_LEAF_SHARE = 0.03
"""Of the rows in every leaf at least: trees grown to the end would wall the shots off from their own kind."""
_CHUNK_ROWS = 20_000


def resembling(
    support: pl.DataFrame, labels: NDArray[np.intp], rng: np.random.Generator
) -> tuple[Floats, Callable[[pl.DataFrame], Floats]]:
    """Grow broad-leaved trees on `support` rows labelled 0 (unlabelled) to T (shots).

    Returns the (rows labelled 0, T) log-odds by trees that left each out, and what gives them for other rows.
    """
    unlabelled = labels == 0
    columns = Columns.learn(support, unlabelled)
    values, _ = columns.read(support)
    scale = ReferenceScale(values[unlabelled])
    min_leaf = max(2, int(_LEAF_SHARE * unlabelled.sum()))
    forest, held_out = grow(_views(scale.cells(values)), labels, _TREES, rng, hold_out_shots=False, min_leaf=min_leaf)

    def of_others(frame: pl.DataFrame) -> Floats:
        parts = [np.empty((0, held_out.shape[1]))]
        for start in range(0, len(frame), _CHUNK_ROWS):
            parts.append(forest.logits(_views(scale.cells(columns.read(frame[start : start + _CHUNK_ROWS])[0]))))
        return np.concatenate(parts)

    return held_out[unlabelled], of_others


def _views(cells: Cells) -> NDArray[np.float32]:
    return np.concatenate([cells.raw, cells.gauss, cells.tail], axis=1).astype(np.float32)
