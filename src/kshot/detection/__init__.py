"""Few-shot detection: what was seen a few times, found again, at a false-alarm rate that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kshot.detection.counterfactual import Change, Counterfactual
from kshot.detection.explain import Difference, Explanation, Reason
from kshot.detection.judge import Keep, Verdicts, judge
from kshot.detection.self_reference import Evidence, Witness

if TYPE_CHECKING:
    from kshot.detection.classifier import FewShotClassifier as FewShotClassifier

__all__ = [
    "Change",
    "Counterfactual",
    "Difference",
    "Evidence",
    "Explanation",
    "FewShotClassifier",
    "Keep",
    "Reason",
    "Verdicts",
    "Witness",
    "judge",
]


def __getattr__(name: str) -> Any:
    """Load scikit-learn, which takes longer than a small scan, only for programs that ask for the estimator."""
    if name == "FewShotClassifier":
        from kshot.detection.classifier import FewShotClassifier

        return FewShotClassifier
    raise AttributeError(f"module 'kshot.detection' has no attribute {name!r}")
