"""kshot detects cyber threats from a handful of examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kshot.detection import FewShotClassifier as FewShotClassifier

__version__ = "0.1.0"
__all__ = ["FewShotClassifier", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the classifier, and with it scikit-learn and polars, only when it is asked for."""
    if name == "FewShotClassifier":
        from kshot.detection import FewShotClassifier

        return FewShotClassifier
    raise AttributeError(f"module 'kshot' has no attribute {name!r}")
