"""Experience replay: past tasks come back among new ones, drawn again from their seeds on a resume."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kshot.learners.tasks import Task

Key = tuple[int, int]
"""Step and place in it at which a task was first drawn: all that is needed to draw it again."""


class TaskStream:
    """The tasks of every step: of new episodes, and of some past ones.

    They depend on the seed, the step and the keys remembered, on nothing else.

    Past tasks are kept by reservoir sampling (Vitter 1985), so that each drawn so far is as likely to be there.
    """

    def __init__(
        self, draw: Callable[[np.random.Generator], list[Task]], seed: int, share: float, capacity: int
    ) -> None:
        self._draw = draw
        self._seed = seed
        self._share = share
        self._capacity = capacity
        self.remembered: list[Key] = []
        """Keys of the tasks that may come back."""
        self.seen = 0
        """New tasks drawn so far."""
        self._kept: dict[Key, list[Task]] = {}

    def step(self, step: int, count: int) -> tuple[list[Task], int]:
        """Return the tasks of a step of `count` episodes, and how many of these came back."""
        rng = np.random.default_rng([self._seed, 1, step])
        wanted = int((rng.random(count) < self._share).sum())
        old = min(wanted, count - 1) if self.remembered else 0
        chosen = [self.remembered[i] for i in rng.integers(len(self.remembered), size=old)] if old else []
        tasks = [task for key in chosen for task in self._again(key)]
        for place in range(count - old):
            key = (step, place)
            new = self._new(key)
            tasks += new
            self._remember(key, new, rng)
        return tasks, old

    def restore(self, remembered: list[Key], seen: int) -> None:
        """Go on from where another stream stopped."""
        self.remembered, self.seen = remembered, seen
        self._kept.clear()

    def _new(self, key: Key) -> list[Task]:
        return self._draw(np.random.default_rng([self._seed, 0, *key]))

    def _again(self, key: Key) -> list[Task]:
        if key not in self._kept:
            self._kept[key] = self._new(key)
        return self._kept[key]

    def _remember(self, key: Key, tasks: list[Task], rng: np.random.Generator) -> None:
        if not self._capacity or not self._share:
            return
        self.seen += 1
        if len(self.remembered) < self._capacity:
            self.remembered.append(key)
        else:
            place = int(rng.integers(self.seen))
            if place >= self._capacity:
                return
            self._kept.pop(self.remembered[place], None)
            self.remembered[place] = key
        self._kept[key] = tasks
