"""How much each member's word counts, by the number of shots; all in units of the reference's own spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standard:
    """Mean and spread of a member's held-out scores over the reference; one entry a threat."""

    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, reference_scores: Floats) -> Standard:
        """Measure (n, T) held-out reference scores."""
        spread = reference_scores.std(0)
        return cls(reference_scores.mean(0), np.where(spread > 1e-9, spread, 1.0))

    def __call__(self, scores: Floats) -> Floats:
        out: Floats = (scores - self.mean) / self.spread
        return out


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the members, the forest being 1."""

    linear: float
    unusual: float
    text: float


def weights_for(n_shots: int) -> Weights:
    """Distance from the reference says most beside one shot and ever less beside more."""
    return Weights(linear=0.25, unusual=0.3 / np.sqrt(max(1, n_shots)), text=1.0)
