"""Gradient-boosted trees as peers: LightGBM and CatBoost, encoded as the reference protocol does."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, ClassVar

from kshot.errors import MissingExtraError
from kshot.learners.classics import Classic
from kshot.learners.learner import Labels
from kshot.learners.reading import Floats


@dataclass(kw_only=True, eq=False)
class LightGbm(Classic):
    """LightGBM (Ke et al. 2017); a leaf may hold a single shot."""

    name: ClassVar[str] = "lightgbm"
    n_trees: int = 100

    def fit(self, rows: Floats, labels: Labels) -> Any:
        """Classes weigh the same."""
        _require("lightgbm")
        from lightgbm import LGBMClassifier

        model = LGBMClassifier(
            n_estimators=self.n_trees,
            min_child_samples=1,
            class_weight="balanced",
            verbose=-1,
            n_jobs=1,
            random_state=self.seed,
        )
        return model.fit(rows, labels)


@dataclass(kw_only=True, eq=False)
class CatBoost(Classic):
    """CatBoost (Prokhorenkova et al. 2018)."""

    name: ClassVar[str] = "catboost"
    n_trees: int = 200

    def fit(self, rows: Floats, labels: Labels) -> Any:
        """Classes weigh the same."""
        _require("catboost")
        from catboost import CatBoostClassifier

        model = CatBoostClassifier(
            iterations=self.n_trees,
            auto_class_weights="Balanced",
            thread_count=1,
            random_seed=self.seed,
            verbose=False,
            allow_writing_files=False,
        )
        return model.fit(rows, labels)


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(f"the learner {package}", "bench")
