"""What traffic was like of late: an even sample of records that belong to no alert."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

MOST_RECORDS = 20_000
_DAY = 86_400 * 10**9
KEPT_DAYS = 7.0
_HALF_LIFE_DAYS = 1.0
_TIME, _CHANCE = "kshot.time", "kshot.chance"


class Reservoir:
    """Holds a sample that slides with time; which records are in it depends on their numbers alone."""

    def __init__(self, most: int = MOST_RECORDS, stride: int = 1) -> None:
        self._most = most
        self.stride = stride
        """One of so many records is taken."""
        self._rows: pl.DataFrame | None = None

    def __len__(self) -> int:
        return 0 if self._rows is None else self._rows.height

    def wanted(self, first_row: int, count: int) -> NDArray[np.intp]:
        """Which of `count` records, numbered from `first_row`, may be taken."""
        return np.flatnonzero(_chance(first_row + np.arange(count)) < 1.0 / self.stride)

    def take(self, features: pl.DataFrame, times: NDArray[np.int64], rows: NDArray[np.int64]) -> pl.DataFrame:
        """Add records with their times (ns) and numbers; returns them as `restore` takes them, packed."""
        added = features.with_columns(pl.Series(_TIME, times), pl.Series(_CHANCE, _chance(rows)))
        if added.height:
            self._add(added)
        return added

    def _add(self, rows: pl.DataFrame) -> None:
        # Rows of another time may lack a column: the segment, where there were none.
        self._rows = rows if self._rows is None else pl.concat([self._rows, rows], how="diagonal")
        while self._rows.height > 2 * self._most:
            self.stride *= 2
            self._rows = self._rows.filter(pl.col(_CHANCE) < 1.0 / self.stride)

    def forget(self, now: int) -> None:
        """Let go of what is older than a week, by time in nanoseconds."""
        if self._rows is not None:
            self._rows = self._rows.filter(pl.col(_TIME) >= now - round(KEPT_DAYS * _DAY))
            while self.stride > 1 and self._rows.height < self._most // 4:
                self.stride //= 2

    def recent(self, now: int) -> pl.DataFrame:
        """Features of records for a new reference: what is a day older is half as likely to be among them."""
        if self._rows is None:
            return pl.DataFrame()
        age = (now - pl.col(_TIME)).clip(0) / _DAY
        kept = self._rows.filter(pl.col(_CHANCE) * self.stride < 0.5 ** (age / _HALF_LIFE_DAYS))
        return kept.drop(_TIME, _CHANCE)

    def whole(self) -> bytes:
        """Everything in it, as `restore` reads it."""
        return b"" if self._rows is None or not self._rows.height else packed(self._rows)

    def restore(self, parts: list[bytes]) -> None:
        """Begin with what `whole` and `take` gave."""
        for part in parts:
            self._add(unpacked(part))


def _chance(rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) numbers in [0, 1), the same for a record wherever a batch begins (splitmix64; Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)).astype(np.float64) / float(1 << 53))


def packed(rows: pl.DataFrame) -> bytes:
    """Rows as `unpacked` reads them back."""
    buffer = BytesIO()
    rows.write_ipc(buffer, compression="zstd")
    return buffer.getvalue()


def unpacked(part: bytes) -> pl.DataFrame:
    """Rows that were packed."""
    return pl.read_ipc(BytesIO(part))
