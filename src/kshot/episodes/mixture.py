"""Tasks from several sources at once, each drawn with a chance of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kshot.episodes.episode import Episode
from kshot.episodes.tables import EpisodeError


class Source(Protocol):
    """Anything that draws episodes."""

    def draw(self, rng: np.random.Generator) -> Episode:
        """Draw one episode; the same generator state gives the same one."""
        ...


@dataclass(frozen=True)
class TaskMixture:
    """Draws each episode from one of `sources`, chosen by `weights`."""

    sources: Sequence[Source]
    weights: Sequence[float]
    """Above 0, one a source; they need not sum to 1."""

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.weights) or not self.sources or min(self.weights) <= 0.0:
            raise EpisodeError("a mixture of tasks needs at least one source, and a weight above 0 for each")

    def draw(self, rng: np.random.Generator) -> Episode:
        """Draw one episode.

        Raises:
            EpisodeError: the source chosen can draw none.
        """
        share = np.asarray(self.weights, np.float64)
        return self.sources[int(rng.choice(len(share), p=share / share.sum()))].draw(rng)
