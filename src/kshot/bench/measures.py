"""What a list of scores is worth: ranking, recall, precision at real base rates, open sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truth = NDArray[np.bool_]

LEAST_BENIGN_FOR_01PCT = 4000
"""Recall at 0.1 % false positives wants at least so many benign queries: four false alarms."""
BENIGN_PER_ATTACK = 10
"""The prevalence of average precision and of precision-recall curves: 1:10."""
RECALL_GRID = tuple(np.round(np.arange(0.05, 1.0001, 0.05), 2).tolist())
"""Where precision-recall curves are read off."""
_RARE = 1000
_RECORDS_A_DAY = 1_000_000


def auroc(truth: Truth, scores: Floats) -> float:
    """Area under the ROC curve of (q,) scores."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores))


def average_precision(truth: Truth, scores: Floats) -> float:
    """Average precision as if there were ten benign queries for each attack."""
    from sklearn.metrics import average_precision_score

    weight = np.where(truth, (~truth).sum() / BENIGN_PER_ATTACK / max(1, truth.sum()), 1.0)
    return float(average_precision_score(truth, scores, sample_weight=weight))


def roc(truth: Truth, scores: Floats) -> tuple[Floats, Floats]:
    """False- and true-positive rates at every threshold, from none to all."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    return np.asarray(false, np.float64), np.asarray(true, np.float64)


def recall_at(curve: tuple[Floats, Floats], false_positive_rate: float) -> float:
    """Recall at a rate of false positives; ties are broken at random, in expectation."""
    return float(np.interp(false_positive_rate, *curve))


def false_positives_at(curve: tuple[Floats, Floats], recall: float) -> float:
    """The least rate of false positives at which `recall` of the attacks are found; ties by expectation."""
    false, true = curve
    after = int(np.searchsorted(true, recall, side="left"))
    if after == 0 or true[after] == true[after - 1]:
        return float(false[after])
    share = (recall - true[after - 1]) / (true[after] - true[after - 1])
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def precision_curve(curve: tuple[Floats, Floats]) -> list[float]:
    """Precision at a prevalence of 1:10, at each recall of `RECALL_GRID`."""
    return [r / (r + BENIGN_PER_ATTACK * false_positives_at(curve, r)) for r in RECALL_GRID]


def base_rates(curve: tuple[Floats, Floats], n_benign: int) -> dict[str, float]:
    """Precision where one record in 1,000 is an attack and false alerts of a day of 1 M records, half of them found.

    A rate that `n_benign` queries cannot show counts as one false positive more than seen would: 1 / (n + 1).
    """
    rate = max(false_positives_at(curve, 0.5), 1.0 / (n_benign + 1))
    return {
        "precision_at_1_in_1000": 0.5 / (0.5 + (_RARE - 1) * rate),
        "false_alerts_a_day": rate * _RECORDS_A_DAY,
    }


def ranking(truth: Truth, scores: Floats) -> dict[str, float | None]:
    """The four figures of the headline protocol."""
    curve = roc(truth, scores)
    return {
        "auroc": auroc(truth, scores),
        "average_precision": average_precision(truth, scores),
        "recall_at_1pct": recall_at(curve, 0.01),
        "recall_at_01pct": recall_at(curve, 0.001) if (~truth).sum() >= LEAST_BENIGN_FOR_01PCT else None,
    }


def macro_f1(truth: NDArray[np.int64], told: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur in the truth; a class never told has 0."""
    parts = []
    for label in np.unique(truth):
        hits = int(((truth == label) & (told == label)).sum())
        parts.append(2.0 * hits / (int((truth == label).sum()) + int((told == label).sum())))
    return float(np.mean(parts))


def oscr(known: Floats, correct: Truth, unknown: Floats) -> float:
    """Area under correct classification of known families against false naming of unknown ones (Dhamija et al. 2018).

    Args:
        known: (m,) greatest score of each query of a known family.
        correct: (m,) whether that score is the right family's.
        unknown: (u,) greatest score of each query of an unknown family.
    """
    thresholds = np.unique(np.concatenate([known, unknown]))[::-1]
    right = np.sort(known[correct])
    strange = np.sort(unknown)
    found = (len(right) - np.searchsorted(right, thresholds, side="left")) / len(known)
    named = (len(strange) - np.searchsorted(strange, thresholds, side="left")) / len(unknown)
    return float(np.trapezoid(np.r_[0.0, found], np.r_[0.0, named]))
