"""A forest on one task, and what it says of a row: scores, votes, leaves shared with the shots."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from kshot.learners.reading import Floats

Kind = Literal["extra-trees", "random-forest"]
FEATURES = (
    "score",  # log-odds of the mean vote
    "votes_spread",  # standard deviation of the trees' votes
    "sure_votes",  # share of trees whose leaf holds more threat than benign
    "surprise",  # -ln share of the reference that scores as high, by trees that left it out
    "nearest_leaf",  # share of trees in which it shares a leaf with the shot it shares most with
    "mean_leaf",  # mean of that over the shots
    "benign_leaf",  # mean log count of reference rows in its leaves
    "reference_distance",  # to the five nearest reference rows in rank space, over the reference's own median
    "shot_distance",  # to the nearest shot, likewise
    "shot_surprise",  # of the task: mean surprise of shots by trees that left them out; 0 where none could
    "log_shots",  # of the task
    "log_reference",  # of the task
    "log_columns",  # of the task
)
N_FEATURES = len(FEATURES)
SURPRISE = FEATURES.index("surprise")
_SHARE_KEPT = 0.63
_FLOOR = 1e-2
_NEIGHBOURS = 5
_CHUNK_ROWS = 1024
_BAGS = 8


class InnerForest:
    """Trees on a reference and the shots of one threat; each leaves out some rows and judges them.

    Trees are grown in bags: all trees of a bag see the same shots (of three or more, two in three) and the same 63 %
    of the reference, both classes weighing the same, and those of other bags judge the rest; so reference rows and
    shots have scores as if they had not been shown.
    """

    def __init__(
        self,
        reference: Floats,
        shots: Floats,
        *,
        n_trees: int,
        kind: Kind,
        rng: np.random.Generator,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        """Grow trees on (n, d) and (k, d) numbers, NaN where missing; `weights` (k,) say how sure each shot is."""
        self._ranks = _Ranks(reference if len(reference) else shots)
        self._n, self._k = len(reference), len(shots)
        rows = self._inputs(np.concatenate([reference, shots]))
        labels = np.r_[np.zeros(self._n, np.int64), np.ones(self._k, np.int64)]
        sure = np.r_[np.ones(self._n), np.ones(self._k) if weights is None else weights]
        self._trees: list[Any] = []
        grow = ExtraTreesClassifier if kind == "extra-trees" else RandomForestClassifier
        sizes = [len(part) for part in np.array_split(np.arange(n_trees), min(_BAGS, n_trees))]
        bags = np.zeros((len(sizes), self._n + self._k), bool)
        for bag, size in zip(bags, sizes, strict=True):
            bag[:] = self._draw(rng)
            counts = np.bincount(labels[bag], weights=sure[bag], minlength=2)
            balance = sure[bag] / np.maximum(counts, 1e-9)[labels[bag]]
            forest = grow(size, random_state=int(rng.integers(2**31 - 1)))
            self._trees += forest.fit(rows[bag], labels[bag], sample_weight=balance).estimators_
        self._kept = np.repeat(bags, sizes, axis=0)
        self._leaves = self._apply(rows)
        self._votes = self._vote(self._leaves)
        self._benign_in_leaf = [np.bincount(self._leaves[: self._n, t], minlength=1) for t in range(n_trees)]
        space = self._ranks(np.concatenate([reference, shots]))
        self._reference_space, self._shot_space = space[: self._n], space[self._n :]
        own = _mean_nearest(self._reference_space, self._reference_space, own=True)
        self._unit = max(float(np.median(own)), 1e-3) if len(own) else 1.0
        left_out = ~self._kept
        held = _log_odds(_mean_where(self._votes, left_out.T, self._votes.mean(1)))
        self._benign_scores = np.sort(held[: self._n])
        shot_held = held[self._n :][left_out.T[self._n :].any(1)]
        self._task = np.array(
            [
                float(self._surprise(shot_held).mean()) if len(shot_held) else 0.0,
                np.log(max(1, self._k)),
                np.log(max(1, self._n)) / 5.0,
                np.log(max(1, reference.shape[1] if self._n else shots.shape[1])) / 3.0,
            ]
        )

    def features(self, rows: Floats) -> NDArray[np.float32]:
        """(m, d) rows -> (m, FEATURES)."""
        parts = [self._describe(rows[start : start + _CHUNK_ROWS]) for start in range(0, len(rows), _CHUNK_ROWS)]
        return np.concatenate(parts) if parts else np.empty((0, N_FEATURES), np.float32)

    def scores(self, rows: Floats) -> Floats:
        """(m,) log-odds of the mean vote alone."""
        return _log_odds(self._vote(self._apply(self._inputs(rows))).mean(1)) if len(rows) else np.empty(0)

    def _describe(self, rows: Floats) -> NDArray[np.float32]:
        leaves = self._apply(self._inputs(rows))
        votes = self._vote(leaves)
        score = _log_odds(votes.mean(1))
        shared = (leaves[:, None, :] == self._leaves[None, self._n :, :]).mean(2)
        inside = np.stack([self._count_benign(leaves[:, t], t) for t in range(len(self._trees))], 1)
        space = self._ranks(rows)
        out = np.column_stack(
            [
                score,
                votes.std(1),
                (votes > 0.5).mean(1),
                self._surprise(score),
                shared.max(1),
                shared.mean(1),
                np.log1p(inside).mean(1),
                np.log1p(_mean_nearest(space, self._reference_space) / self._unit),
                np.log1p(_mean_nearest(space, self._shot_space, 1) / self._unit),
                np.broadcast_to(self._task, (len(rows), len(self._task))),
            ]
        )
        return out.astype(np.float32)

    def _draw(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        kept = np.ones(self._n + self._k, bool)
        kept[: self._n] = False
        kept[rng.permutation(self._n)[: max(min(1, self._n), round(_SHARE_KEPT * self._n))]] = True
        if self._k >= 3:
            kept[self._n + rng.permutation(self._k)[: self._k // 3]] = False
        return kept

    def _inputs(self, rows: Floats) -> NDArray[np.float32]:
        """Raw values, missing ones far below, and their ranks."""
        raw = np.clip(np.where(np.isnan(rows), -1e30, rows), -1e30, 1e30)
        return np.column_stack([raw, self._ranks(rows)]).astype(np.float32)

    def _apply(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.stack([tree.tree_.apply(rows) for tree in self._trees], 1).astype(np.int64)

    def _vote(self, leaves: NDArray[np.int64]) -> Floats:
        """(m, trees) share of threat in each row's leaf."""
        out = np.empty(leaves.shape)
        for t, tree in enumerate(self._trees):
            value = tree.tree_.value[:, 0, :]
            if value.shape[1] == 1:  # nothing to compare with: all is threat, or all benign
                share = np.full(len(value), float(self._k > 0))
            else:
                share = value[:, 1] / value.sum(1)
            out[:, t] = share[leaves[:, t]]
        return out

    def _count_benign(self, leaves: NDArray[np.int64], tree: int) -> Floats:
        counts = self._benign_in_leaf[tree]
        return np.where(leaves < len(counts), counts[np.minimum(leaves, len(counts) - 1)], 0).astype(np.float64)

    def _surprise(self, scores: Floats) -> Floats:
        above = len(self._benign_scores) - np.searchsorted(self._benign_scores, scores, side="left")
        return np.asarray(-np.log((above + 1.0) / (len(self._benign_scores) + 1.0)), np.float64)


class _Ranks:
    """Rank-Gauss values of columns, by the reference; 0 where missing."""

    def __init__(self, reference: Floats) -> None:
        self._sorted = [np.sort(column[~np.isnan(column)]) for column in reference.T]

    def __call__(self, rows: Floats) -> Floats:
        out = np.zeros(rows.shape)
        for j, column in enumerate(self._sorted):
            low, high = (np.searchsorted(column, rows[:, j], side) for side in ("left", "right"))
            rank = ndtri((low + high + 1.0) / (2.0 * len(column) + 2.0))
            out[:, j] = np.where(np.isnan(rows[:, j]), 0.0, np.clip(rank, -3.0, 3.0))
        return out


def _log_odds(share: Floats) -> Floats:
    return np.asarray(np.log((share + _FLOOR) / (1.0 - share + _FLOOR)), np.float64)


def _mean_where(values: Floats, chosen: NDArray[np.bool_], otherwise: Floats) -> Floats:
    """(n, t) -> (n,) mean over the chosen of each row; `otherwise` where none is."""
    count = chosen.sum(1)
    return np.where(count > 0, (values * chosen).sum(1) / np.maximum(count, 1), otherwise)


def _mean_nearest(rows: Floats, known: Floats, count: int = _NEIGHBOURS, *, own: bool = False) -> Floats:
    """(m,) mean distance to the nearest `count` of (n, d) known rows; `own`: each row is one of them."""
    count = min(count, len(known) - own)
    if count < 1:
        return np.zeros(len(rows))
    square = (rows * rows).sum(1)[:, None] + (known * known).sum(1) - 2.0 * rows @ known.T
    if own:
        np.fill_diagonal(square, np.inf)
    nearest = np.partition(square, count - 1, axis=1)[:, :count]
    return np.asarray(np.sqrt(np.maximum(nearest, 0.0)).mean(1), np.float64)
