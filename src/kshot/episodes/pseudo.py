"""Pseudo-threats: tasks out of tables without labels, slices of rows around an anchor."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.episodes.ranks import mid_ranks
from kshot.episodes.tables import BENIGN, EpisodeError, LabelledTable, Rows

PSEUDO = "pseudo-threat"
"""The family of the rows of a slice."""
_CATEGORY_LEVELS = 50
"""A text with no more distinct values is equal or not; a longer-tailed one is near by its length."""
_FAR = 2.0
"""The distance of two different categories; ranks are at most 1 apart."""
_TRIES = 30


class PseudoThreats:
    """Slices of the benign rows of a table (all rows, where no row has a label but `BENIGN`).

    A slice is what lies nearest to a row drawn at random, in 2 to 5 columns drawn at random, by the greatest distance
    of ranks over those columns: a compact corner of the data, as a tool's traffic is one.
    """

    def __init__(self, table: LabelledTable, *, columns: tuple[int, int] = (2, 5), greatest_share: float = 0.2) -> None:
        """Rank every column once.

        Args:
            table: its rows of other labels are left out.
            columns: the least and greatest number of columns that a slice is cut in.
            greatest_share: of the rows that a slice may hold; ties can make it greater than wanted.
        """
        self.table = table.take(table.rows_of(BENIGN)) if table.families else table
        self._columns = columns
        self._greatest_share = greatest_share
        frame = self.table.features
        parts = [_ranked(frame[name]) for name in frame.columns]
        self._ranks = np.stack([part for part, _ in parts], 1) if parts else np.empty((len(table), 0), np.float32)
        self._is_category = np.array([category for _, category in parts], bool)
        # A column with one value cuts nothing.
        varied = np.flatnonzero(np.ptp(self._ranks, axis=0) > 0) if len(self._ranks) else np.empty(0, np.int64)
        self._varied: Rows = varied.astype(np.int64)

    def slice_rows(self, rng: np.random.Generator, least_rows: int) -> Rows:
        """Return the rows of one slice, in order.

        Raises:
            EpisodeError: no slice has at least `least_rows` rows and leaves enough others.
        """
        n = len(self._ranks)
        greatest = int(self._greatest_share * n)
        if len(self._varied) and least_rows <= greatest:
            for _ in range(_TRIES):
                wanted = int(np.exp(rng.uniform(np.log(least_rows), np.log(greatest))))
                near = self._distances(rng)
                rows = np.flatnonzero(near <= np.partition(near, wanted - 1)[wanted - 1])
                if least_rows <= len(rows) <= greatest:
                    return rows.astype(np.int64)
        raise EpisodeError(
            f"table {self.table.name}: no slice of {least_rows} to {greatest} of its {n:,} rows was found for a "
            "pseudo-threat; give more rows or more columns"
        )

    def draw(self, rng: np.random.Generator, least_rows: int) -> LabelledTable:
        """Return the table with the rows of one slice labelled `PSEUDO`, the others benign."""
        return self.table.named(self.slice_rows(rng, least_rows), PSEUDO)

    def _distances(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """(n,) distance of every row to an anchor."""
        low, high = self._columns
        count = min(int(rng.integers(low, high + 1)), len(self._varied))
        chosen = rng.choice(self._varied, count, replace=False)
        block = self._ranks[:, chosen]
        anchor = block[rng.integers(len(block))]
        distances = np.abs(block - anchor)
        categories = self._is_category[chosen]
        distances[:, categories] = np.where(distances[:, categories] > 0, _FAR, 0)
        return np.asarray(distances.max(1), np.float32)


def _ranked(column: pl.Series) -> tuple[NDArray[np.float32], bool]:
    """(n,) mid-ranks in 0..1, or codes of a category; and whether it is one."""
    if column.dtype == pl.Boolean:
        column = column.cast(pl.UInt8)
    if column.dtype.is_temporal():
        column = column.to_physical()
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Null, pl.Object):
        return np.zeros(len(column), np.float32), True  # nothing that a slice could be cut by
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        values = np.where(np.isnan(values), -np.inf, values)
    else:
        texts = column.cast(pl.String, strict=False)
        if texts.n_unique() <= _CATEGORY_LEVELS:
            return texts.rank("dense").fill_null(0).to_numpy().astype(np.float32), True
        values = texts.str.len_bytes().cast(pl.Float64).fill_null(-1.0).to_numpy()
    return (mid_ranks(values) / max(1, len(values))).astype(np.float32), False
