"""Several trained learners as one: averaged by outputs, or by weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch

from kshot.learners.learner import Adapted
from kshot.learners.reading import Floats, Frame, LearnerInputError
from kshot.learners.torch_learner import TorchLearner


class OutputAverage(Adapted):
    """The mean of several adapted learners' scores, each in units of its own spread over the reference."""

    def __init__(self, members: Sequence[Adapted], reference: Frame) -> None:
        """Average `members`, all adapted to the same task; `reference` (n, d), n >= 2, gives their units."""
        if not members or len(reference) < 2:
            raise LearnerInputError("averaging outputs takes a member and two reference rows at least")
        self._members = list(members)
        scores = [member.score(reference) for member in self._members]
        self._units = [(float(np.median(s)), max(float(s.std()), 1e-9)) for s in scores]

    def score(self, queries: Frame) -> Floats:
        """Mean standardised score."""
        each = [(m.score(queries) - at) / unit for m, (at, unit) in zip(self._members, self._units, strict=True)]
        return np.asarray(np.mean(each, axis=0), np.float64)


def average_weights(learners: Sequence[TorchLearner]) -> TorchLearner:
    """Make a learner whose weights are the mean of several (a soup, Wortsman et al. 2022).

    It makes sense for learners of one training or of one beginning; learners of different first weights are averaged
    by outputs.

    Raises:
        LearnerInputError: the learners are not of one kind and size.
    """
    if not learners:
        raise LearnerInputError("there are no learners to average")
    states = [learner.module.state_dict() for learner in learners]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if len({type(learner) for learner in learners}) > 1 or any(shape != shapes[0] for shape in shapes):
        raise LearnerInputError("the learners to average are not of one kind and size; average their outputs")
    out = copy.deepcopy(learners[0])
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        for name, value in states[0].items()
    }
    out.module.load_state_dict(mean)
    return out
