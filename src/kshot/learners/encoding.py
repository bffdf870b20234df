"""Cells described relative to the reference and to the shots, so that one network reads any schema."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from kshot.learners.reading import Floats, Frame, Reader

Cells = NDArray[np.float32]
"""(n, d, channels) rows in cells, columns in canonical order."""

CHANNELS = (
    "present",  # 1; 0 in a column that only fills up a batch
    "rank",  # normal quantile of the mid-rank in the reference, within +-3
    "tail",  # arcsinh of the robust z-score
    "ties",  # log share of the reference with this very value, -1..0
    "below",  # whether it is less than all of the reference
    "above",  # whether it is greater than all of the reference
    "missing",
    "nearest_rank",  # rank distance to the nearest shot
    "mean_rank",
    "nearest_tail",
    "mean_tail",
    "equal",  # share of the shots with this very value
    "surprise",  # of the column: how far out its shots are, 0..1
    "shot_spread",  # of the column: how much the shots differ among themselves, in rank
    "distinct",  # of the column: log count of distinct reference values, 0..1
    "absent",  # of the column: share of the reference without a value
    "packet",  # of the column: 1..8 size of a flow's k-th data packet, 9..16 the pause before it, else 0
)
"""What each cell tells; the version of an encoding is this list."""
N_CHANNELS = len(CHANNELS)
_CLIP_RANK = 3.0
_CHUNK_CELLS = 2_000_000


class RelativeEncoder:
    """What the columns look like in one reference and to one set of shots; turns rows into cells.

    Every row is described as if it were not in the reference itself, and a shot as if it were not among the shots, so
    that shown and asked rows mean the same by a cell. (One shot alone is at distance 0 from itself.) Columns are put
    in canonical order, the one whose shots are farthest out first, equal ones by content; the first `max_columns`
    stay. Neither the order of rows nor of columns changes anything.
    """

    def __init__(self, reference: Frame, shots: Frame, max_columns: int, max_support: int) -> None:
        """Learn from (n, d) reference rows (empty: the shots stand for it) and (k, d) shots, k >= 1.

        `max_support` of the reference rows, spread evenly from the commonest to the oddest, are shown to the learner.

        Raises:
            LearnerInputError: columns differ or cannot be read.
        """
        self._reader = Reader(reference, shots)
        known, shown = self._reader.read(reference), self._reader.read(shots)
        self._scale = _Scale(known if len(known) else shown)
        surprise = self._scale.surprise(shown)
        self._order = _canonical(surprise, self._scale.sorted_values, self._reader.columns)[:max_columns]
        self.columns = [self._reader.columns[i] for i in self._order]
        """Names of the columns, in the order of the cells."""
        self._scale.keep(self._order)
        shot_cells = self._scale.cells(shown[:, self._order], member=not len(known))
        self._shots = _sorted_rows(shot_cells)
        spread = self._shots[..., 1].std(0) if len(self._shots) else np.zeros(len(self._order))
        packets = self._reader.packets[self._order]
        n_known = max(1, self._scale.n_rows)
        self._of_column = np.stack(
            [
                surprise[self._order] / np.log(n_known + 2.0),
                spread,
                np.log(self._scale.distinct + 1.0) / np.log(n_known + 1.0),
                self._scale.absent,
                packets.astype(np.float64),
            ],
            -1,
        )
        self.shots: Cells = self._compare(shot_cells, own=True)
        """(k, d, channels) the shots, in the order given."""
        self._benign = self._scale.cells(known[:, self._order], member=True)
        self.shown = _spread_rows(self._benign, max_support)
        """(min(n, max_support),) which rows of the reference are shown, from the commonest to the oddest."""
        self.reference: Cells = self._compare(self._benign[self.shown], own=False)
        """(min(n, max_support), d, channels) these."""

    def encode(self, rows: Frame) -> Cells:
        """Describe (n, d) rows; each alone, whatever the others."""
        values = self._reader.read(rows, self._order)
        return self._compare(self._scale.cells(values, member=False), own=False)

    def members(self, rows: NDArray[np.intp]) -> Cells:
        """Describe some rows of the reference itself, each as if it were not in it."""
        return self._compare(self._benign[rows], own=False)

    def _compare(self, cells: Floats, *, own: bool) -> Cells:
        """(n, d, 7) cells -> (n, d, channels) with the distances to the shots; `own`: the rows are the shots."""
        n, d, width = cells.shape
        out = np.zeros((n, d, N_CHANNELS), np.float32)
        out[..., :width] = cells
        out[..., width + 5 :] = self._of_column
        k = len(self._shots)
        others = k - 1 if own else k
        if not others:  # nothing to compare with; one shot alone equals itself
            out[..., width + 4] = float(own)
            return out
        step = max(1, _CHUNK_CELLS // max(1, k * d))
        for start in range(0, n, step):
            part = cells[start : start + step, None]
            apart = np.abs(part[..., 6] - self._shots[None, ..., 6])
            equal = np.where(part[..., 6] > 0, apart == 0, part[..., 2] == self._shots[None, ..., 2])
            for at, channel in ((width, 1), (width + 2, 2)):
                distance = np.abs(part[..., channel] - self._shots[None, ..., channel]) + apart
                total = distance.sum(1)
                if own:  # the nearest of all is the shot itself, at 0: take the second
                    distance = np.partition(distance, 1, axis=1)[:, 1:2]
                out[start : start + step, :, at] = distance.min(1)
                out[start : start + step, :, at + 1] = total / others
            out[start : start + step, :, width + 4] = (equal.sum(1) - own) / others
        return out


def canonical_order(reference: Floats, shots: Floats, names: list[str]) -> NDArray[np.intp]:
    """(d,) the columns of (n, d) reference and (k, d) shot rows, the one whose shots are farthest out first."""
    scale = _Scale(reference)
    return _canonical(scale.surprise(shots), scale.sorted_values, names)


class _Scale:
    """Every column's values in the reference, sorted."""

    def __init__(self, values: Floats) -> None:
        self.n_rows = len(values)
        self.sorted_values = np.sort(values, axis=0)
        n = (~np.isnan(self.sorted_values)).sum(0)
        self._present = [self.sorted_values[:count, j] for j, count in enumerate(n)]
        self._counts = n.astype(np.float64)
        self.absent = 1.0 - n / max(1, self.n_rows)
        steps = (np.diff(self.sorted_values, axis=0) > 0).sum(0)
        self.distinct = np.where(n > 0, steps + 1.0, 0.0)
        middle = [_quartiles(column) for column in self._present]
        self._median = np.array([m[1] for m in middle])
        self._spread = np.array([_spread(c, m[0], m[2]) for c, m in zip(self._present, middle, strict=True)])

    def keep(self, order: NDArray[np.intp]) -> None:
        """Keep these columns, in this order."""
        self._present = [self._present[j] for j in order]
        self._counts = self._counts[order]
        self.absent, self.distinct = self.absent[order], self.distinct[order]
        self._median, self._spread = self._median[order], self._spread[order]

    def surprise(self, values: Floats) -> Floats:
        """(d,) mean over (k, d) values of -ln the share of the reference at least as far out; missing ones say 0."""
        if not len(values):
            return np.zeros(values.shape[1])
        low, high = self._places(values)
        share = (np.minimum(high, self._counts - low) + 0.5) / (self._counts + 0.5)
        out = np.where(np.isnan(values), 0.0, -np.log(np.minimum(share, 1.0)))
        return np.asarray(np.sort(out, axis=0).mean(0), np.float64)

    def cells(self, values: Floats, *, member: bool) -> Floats:
        """(n, d) values -> (n, d, 7): the channels up to `missing`; a `member` does not count itself."""
        missing = np.isnan(values)
        low, high = self._places(values)
        total = np.maximum(self._counts - member, 0.0)
        tied = np.maximum(high - low - member, 0.0)
        filled = np.where(missing, self._median, values)
        out = np.zeros((*values.shape, 7))
        out[..., 0] = 1.0
        rank = np.clip((low + 0.5 * (tied + 1.0)) / (total + 1.0), 0.0, 1.0)
        out[..., 1] = np.clip(ndtri(rank), -_CLIP_RANK, _CLIP_RANK)
        with np.errstate(over="ignore"):  # a spread as small as numbers go; what overflows is clipped
            out[..., 2] = np.arcsinh(np.clip((filled - self._median) / self._spread, -1e15, 1e15))
        out[..., 3] = np.where(total > 0, np.log((tied + 0.5) / (total + 0.5)) / np.log(2.0 * total + 2.0), 0.0)
        out[..., 4] = (low == 0) & (tied == 0)
        out[..., 5] = (low == total) & (tied == 0)
        out[missing, 1:6] = 0.0
        out[..., 6] = missing
        return out

    def _places(self, values: Floats) -> tuple[Floats, Floats]:
        """(n, d) how many of the reference are less than each value, and how many are at most as great."""
        low, high = np.empty(values.shape), np.empty(values.shape)
        for j, column in enumerate(self._present):
            low[:, j] = column.searchsorted(values[:, j], "left")
            high[:, j] = column.searchsorted(values[:, j], "right")
        return low, high


def _canonical(surprise: Floats, sorted_values: Floats, names: list[str]) -> NDArray[np.intp]:
    """Order the columns by what they hold: the farthest-out shots first, ties by content, then by name."""
    content = [zlib.crc32(np.ascontiguousarray(sorted_values[:, j]).tobytes()) for j in range(len(names))]
    rank_of_name = np.argsort(np.argsort(np.array(names, dtype=object), kind="stable"), kind="stable")
    return np.lexsort((rank_of_name, np.array(content), -np.round(surprise, 5)))


def _sorted_rows(cells: Floats) -> Floats:
    """Put shots in an order of their own, so that sums over them do not depend on the order given."""
    if not len(cells):
        return cells
    flat = cells[..., 1:3].reshape(len(cells), -1)
    return cells[np.lexsort(flat.T[:64])]


def _spread_rows(cells: Floats, count: int) -> NDArray[np.intp]:
    """Take `count` of (n, d, 7) rows evenly from the commonest to the oddest: their indices."""
    oddness, tail = np.abs(cells[..., 1]).mean(1), cells[..., 2].mean(1)
    order = np.lexsort((tail, np.round(oddness, 9)))
    if len(order) > count:
        order = order[np.linspace(0, len(order) - 1, count).round().astype(np.intp)]
    return order


def _quartiles(column: Floats) -> tuple[float, float, float]:
    """Quartiles of a sorted column, linear between values; 0 of an empty one."""
    if not len(column):
        return 0.0, 0.0, 0.0
    places = np.array([0.25, 0.5, 0.75]) * (len(column) - 1)
    low = places.astype(np.intp)
    above = column[np.minimum(low + 1, len(column) - 1)]
    a, b, c = column[low] + (places - low) * (above - column[low])
    return float(a), float(b), float(c)


def _spread(column: Floats, low: float, high: float) -> float:
    """Robust standard deviation; where half of the values are tied the plain one; where all are, 1."""
    if high > low:
        return float((high - low) / 1.349)
    if not len(column):
        return 1.0
    greatest = max(1.0, float(np.abs(column).max()))
    deviation = float(np.std(column / greatest)) * greatest
    return deviation if deviation > 0.0 else 1.0
