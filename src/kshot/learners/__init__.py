"""Learners: meta-learning algorithms of one shape; only those that need torch load it, when asked for."""

from kshot.learners.learner import Adapted, Learner, TaskSource
from kshot.learners.reading import LearnerInputError
from kshot.learners.registry import LEARNERS, learner_names, make_learner

__all__ = ["LEARNERS", "Adapted", "Learner", "LearnerInputError", "TaskSource", "learner_names", "make_learner"]
