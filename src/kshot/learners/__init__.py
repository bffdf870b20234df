"""Learners: meta-learning algorithms of one shape; torch is loaded by those that need it, when they are asked for."""

from kshot.learners.learner import Adapted, Learner, TaskSource
from kshot.learners.reading import LearnerInputError
from kshot.learners.registry import LEARNERS, learner_names, make_learner

__all__ = ["LEARNERS", "Adapted", "Learner", "LearnerInputError", "TaskSource", "learner_names", "make_learner"]
