"""Extremely randomised trees that always see the shots, and each only some of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.tree import ExtraTreeClassifier

Floats = NDArray[np.float64]
_SHARE_KEPT = 0.63
"""Of the reference rows a tree sees; the rest judge it, as with a bootstrap."""
_FLOOR = 1e-3
"""Probabilities are kept this far from 0 and 1 before their logit is taken: a third of one tree in 300."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees over one or more encodings of the same rows, taken in turn (Geurts, Ernst and Wehenkel 2006)."""

    trees: tuple[ExtraTreeClassifier, ...]
    n_encodings: int
    n_classes: int

    def logits(self, encodings: Sequence[NDArray[np.float32]]) -> Floats:
        """(n, threats) log-odds of each threat against benign."""
        total = np.zeros((len(encodings[0]), self.n_classes))
        for i, tree in enumerate(self.trees):
            total += tree.tree_.predict(encodings[i % self.n_encodings])
        return threat_logits(total / len(self.trees))


def grow(
    encodings: Sequence[NDArray[np.float32]],
    labels: NDArray[np.intp],
    n_trees: int,
    rng: np.random.Generator,
) -> tuple[Forest, Floats]:
    """Grow `n_trees` on rows labelled 0 (benign) to T; return them and every row's logits where it was left out.

    Shots of a threat with three or more are left out in turn too; those of a threat with fewer never are, and
    their returned logits are nan.
    """
    n_classes = int(labels.max()) + 1
    members = [np.flatnonzero(labels == c) for c in range(n_classes)]
    total = np.zeros((len(labels), n_classes))
    times = np.zeros(len(labels))
    trees = []
    for i in range(n_trees):
        rows = encodings[i % len(encodings)]
        kept = [_kept(c, m, rng) for c, m in enumerate(members)]
        chosen = np.concatenate(kept)
        weight = np.concatenate([np.full(len(k), 1.0 / max(1, len(k))) for k in kept]) * len(kept[0])
        tree = ExtraTreeClassifier(max_features="sqrt", random_state=int(rng.integers(2**31 - 1)))
        tree.fit(rows[chosen], labels[chosen].astype(np.float64), sample_weight=weight, check_input=False)
        trees.append(tree)
        if n_classes > 1:
            left = np.ones(len(labels), bool)
            left[chosen] = False
            total[left] += tree.tree_.predict(rows[left])
            times += left
    forest = Forest(tuple(trees), len(encodings), n_classes)
    never = np.flatnonzero(times == 0)
    held_out = threat_logits(total / np.maximum(times, 1.0)[:, None])
    held_out[never] = forest.logits([rows[never] for rows in encodings])
    held_out[never[labels[never] > 0]] = np.nan
    return forest, held_out


def _kept(label: int, members: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    if label > 0:
        return members
    return rng.choice(members, max(1, round(_SHARE_KEPT * len(members))), replace=False)


def threat_logits(probabilities: Floats) -> Floats:
    """(n, 1 + T) class probabilities, benign first -> (n, T) log-odds of each threat against benign alone."""
    benign = probabilities[:, :1] + _FLOOR
    out: Floats = np.log((probabilities[:, 1:] + _FLOOR) / benign)
    return out
