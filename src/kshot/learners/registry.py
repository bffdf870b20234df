"""The learners by name: ours, and those that other packages offer by entry point."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import entry_points
from typing import Any

from kshot.errors import MissingExtraError
from kshot.learners.learner import Learner
from kshot.learners.reading import LearnerInputError

GROUP = "kshot.learners"
"""Entry points of this group name a `Learner` class each."""

LEARNERS = {
    "maml": "kshot.learners.maml:Maml",
    "anil": "kshot.learners.anil:Anil",
    "meta-sgd": "kshot.learners.meta_sgd:MetaSgd",
    "reptile": "kshot.learners.reptile:Reptile",
    "prototypical": "kshot.learners.prototypical:Prototypical",
    "relation": "kshot.learners.relation:Relation",
    "ridge-head": "kshot.learners.ridge_head:RidgeHead",
    "lstm-learner": "kshot.learners.lstm_learner:LstmLearner",
    "conv-mixture": "kshot.learners.conv_mixture:ConvMixture",
    "forest-in-the-loop": "kshot.learners.forest_in_the_loop:ForestInTheLoop",
    "in-context": "kshot.learners.in_context:InContext",
    "fine-tuning": "kshot.learners.fine_tuning:FineTuning",
    "extra-trees": "kshot.learners.classics:ExtraTrees",
    "random-forest": "kshot.learners.classics:RandomForest",
    "logistic": "kshot.learners.classics:Logistic",
    "knn": "kshot.learners.classics:NearestNeighbours",
    "anomaly": "kshot.learners.classics:Anomaly",
}
"""Name -> module:class."""
CLASSICS = frozenset({"extra-trees", "random-forest", "logistic", "knn", "anomaly"})
"""Those that learn nothing across tasks, and need no torch."""


def learner_names() -> list[str]:
    """Return the names of all learners, those of other packages last."""
    return [*LEARNERS, *sorted(point.name for point in entry_points(group=GROUP) if point.name not in LEARNERS)]


def learner_class(name: str) -> type[Learner]:
    """Return a learner's class.

    Raises:
        LearnerInputError: no learner of that name, or an entry point that is none.
        MissingExtraError: it needs torch, which is not installed.
    """
    if name in LEARNERS:
        if name not in CLASSICS and importlib.util.find_spec("torch") is None:
            raise MissingExtraError(f"the learner {name}", "train")
        module, _, attribute = LEARNERS[name].partition(":")
        found: Any = getattr(importlib.import_module(module), attribute)
    else:
        points = [point for point in entry_points(group=GROUP) if point.name == name]
        if not points:
            raise LearnerInputError(f"there is no learner {name}; there are: {', '.join(learner_names())}")
        found = points[0].load()
    if not (isinstance(found, type) and issubclass(found, Learner)):
        raise LearnerInputError(f"the entry point {name} is no kshot.learners.Learner")
    return found


def make_learner(name: str, **settings: Any) -> Learner:
    """Make a learner; `settings` are the fields of its class.

    >>> make_learner("logistic").name
    'logistic'

    Raises:
        LearnerInputError: no learner of that name, or a setting that it has not.
        MissingExtraError: it needs torch, which is not installed.
    """
    made = learner_class(name)
    try:
        return made(**settings)
    except TypeError as error:
        told = str(error).split("__init__() ")[-1]
        known = ", ".join(sorted(made(**{}).settings()))
        raise LearnerInputError(f"learner {name}: {told}; its settings are {known}") from error
