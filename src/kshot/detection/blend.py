"""How much each member's word counts, by the number of shots; all in units of the reference's own spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_UNUSUAL = 0.5
"""Weight of the distance from the reference beside one shot; falls with the root of their number, as errors do."""
_MOST_UNUSUAL = 4.0
"""Spreads beyond which being unusual says no more: what is far from the reference need not be this threat."""
_LINEAR = 0.25
"""Weight of the logistic member where leave-one-out on the shots speaks for it."""
_TEXT = 1.0
_PRIOR = 0.5
"""Weight of what was meta-learned beside one shot; falls with their number, for then the shots speak for themselves."""
_PRIOR_RANGE = (-6.0, 12.0)
"""Spreads within which it is heard."""
LEAST_PRIOR = 0.1
"""Below this weight it is not asked at all: it costs more than it says."""


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
        """(n, T) scores in spreads above the reference's mean."""
        out: Floats = (scores - self.mean) / self.spread
        return out


@dataclass(frozen=True, slots=True)
class Blend:
    """Weights of the members for each of T threats; the forests weigh 1 together."""

    linear: Floats
    """(T,)"""
    unusual: Floats
    """(T,)"""
    text: Floats
    """(T,)"""
    prior: Floats
    """(T,) 0 where it is not asked."""

    @classmethod
    def by_shots(cls, labels: NDArray[np.intp], trees: Floats, linear: Floats) -> Blend:
        """Weigh by the number of shots and by their leave-one-out ranks.

        `labels` (n,) are 0 for benign and 1 to T; `trees` and `linear` are (n, T) held-out scores. The logistic
        member counts where, with three or more shots, it ranks those it has not seen at least as high as the trees.
        """
        n_of = np.bincount(labels)[1:]
        weight = np.zeros(len(n_of))
        for t, n in enumerate(n_of):
            if n >= 3:
                by_trees, by_linear = (rank_of_shots(m, labels, t + 1) for m in (trees, linear))
                known = not (np.isnan(by_linear).all() or np.isnan(by_trees).all())
                weight[t] = _LINEAR * float(known and np.nanmean(by_linear) >= np.nanmean(by_trees))
        prior = np.where(n_of * LEAST_PRIOR <= _PRIOR, _PRIOR / n_of, 0.0)
        return cls(weight, _UNUSUAL / np.sqrt(n_of), np.full(len(n_of), _TEXT), prior)

    def __call__(
        self, forests: Floats, linear: Floats, text: Floats | None, unusual: Floats, prior: Floats | None
    ) -> Floats:
        """Blend (n, T) standardised scores of the members and the (n,) standardised distance from the reference."""
        out = forests + self.linear * linear + self.unusual * np.minimum(unusual, _MOST_UNUSUAL)[:, None]
        if text is not None:
            out = out + self.text * text
        if prior is not None:
            out = out + self.prior * np.clip(prior, *_PRIOR_RANGE)
        return np.asarray(out, np.float64)


def rank_of_shots(held_out: Floats, labels: NDArray[np.intp], threat: int) -> Floats:
    """(k,) -ln of the share of the reference that scores at least as high as each shot; nan where never left out."""
    benign = np.sort(held_out[labels == 0, threat - 1])
    shots = held_out[labels == threat, threat - 1]
    above = len(benign) - np.searchsorted(benign, shots, side="left")
    return np.where(np.isnan(shots), np.nan, -np.log((above + 1.0) / (len(benign) + 1.0)))
