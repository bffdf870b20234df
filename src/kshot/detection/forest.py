"""Trees that always see the shots and each only some of the reference, with random cuts or with the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kshot.detection.forest_kernels import NODE, grow_forest, pack, walk

Floats = NDArray[np.float64]
_SHARE_KEPT = 0.63
"""Of the reference rows a tree sees, as with a bootstrap; the rest of its reference rows judge it."""
_CROSSES = 10
"""Made-up rows of each threat in every second tree of random cuts: many beside one shot, few beside a hundred."""
_SHARE_CROSSED = 0.2
"""Odds of each input column of a made-up row to be a benign record's: a threat that is a little less like its shots."""
_FLOOR = 1e-3
"""Probabilities are kept this far from 0 and 1 before their logit is taken: a third of one tree in 300."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees over one encoding of the rows, flat in memory."""

    nodes: NDArray[np.void]
    """(nodes,) of dtype NODE."""
    roots: NDArray[np.int64]
    """(trees + 1,) where each tree's nodes begin."""
    steps: NDArray[np.int64]
    """(trees,) how deep each is."""
    value: NDArray[np.float32]
    """(nodes, 1 + threats) class shares, benign first."""

    def logits(self, rows: NDArray[np.float32]) -> Floats:
        """(n, threats) log-odds of each threat against benign, all classes weighing the same."""
        return threat_logits(walk(np.ascontiguousarray(rows), self.nodes, self.roots, self.steps, self.value))


def grow(
    rows: NDArray[np.float32],
    labels: NDArray[np.intp],
    n_trees: int,
    rng: np.random.Generator,
    *,
    hold_out_shots: bool,
    crossed: Sequence[str] = (),
    best_cuts: bool = False,
    min_leaf: int = 1,
    share_kept: float = _SHARE_KEPT,
) -> tuple[Forest, Floats]:
    """Grow `n_trees` on rows labelled 0 (benign) to T; return them and each row's logits by trees that left it out.

    Cuts are random ones (extremely randomised trees: Geurts, Ernst and Wehenkel 2006) or, with `best_cuts`, the best of
    each column tried (random forest: Breiman 2001). A tree sees `share_kept` of the benign rows.

    crossed: the input column of each feature. Every second tree then also sees made-up shots, some of whose columns are
    a benign record's, for a threat need not show all that its few shots share. Without names there are none.

    With `hold_out_shots` each tree also leaves out some shots of every threat that has two or more. Rows that no
    tree left out get the whole forest's word if benign, nan if shots.
    """
    n_of = np.bincount(labels)
    keep = np.ones(len(n_of))
    if hold_out_shots:
        keep = np.where(n_of >= 3, _SHARE_KEPT, np.where(n_of == 2, 0.5, 1.0))
    keep[0] = share_kept
    n_tried = max(1, int(np.sqrt(rows.shape[1])))
    seed = int(rng.integers(2**62))
    columns = np.ascontiguousarray(rows.T)
    grown = grow_forest(
        columns,
        np.unique(list(crossed), return_inverse=True)[1].astype(np.int64) if crossed else np.zeros(0, np.int64),
        labels.astype(np.int64),
        keep,
        _CROSSES if crossed else 0,
        _SHARE_CROSSED,
        n_trees,
        n_tried,
        min_leaf,
        best_cuts,
        seed,
    )
    roots, feature, threshold, child, value, shares, times = grown
    forest = Forest(np.empty(len(feature), NODE), roots, np.empty(n_trees, np.int64), value)
    pack(forest.nodes, roots, feature, threshold, child, value, forest.steps)
    held_out = threat_logits(shares / np.maximum(times, 1.0)[:, None])
    never = np.flatnonzero(times == 0)
    if len(never):
        held_out[never] = forest.logits(rows[never])
        held_out[never[labels[never] > 0]] = np.nan
    return forest, held_out


def threat_logits(probabilities: Floats) -> Floats:
    """(n, 1 + T) class probabilities, benign first -> (n, T) log-odds of each threat against benign alone."""
    benign = probabilities[:, :1] + _FLOOR
    out: Floats = np.log((probabilities[:, 1:] + _FLOOR) / benign)
    return out
