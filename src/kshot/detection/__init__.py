"""Few-shot detection: what was seen a few times, found again, at a false-alarm rate that is kept."""

from __future__ import annotations

from kshot.detection.classifier import FewShotClassifier
from kshot.detection.judge import Verdicts, judge

__all__ = ["FewShotClassifier", "Verdicts", "judge"]
