"""The outer loop, one for all learners: minimises the loss of adapted learners over many tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from kshot.learners.learner import TaskSource
from kshot.learners.reading import LearnerInputError
from kshot.learners.training import Progress, Trainable, Training


@dataclass(frozen=True, kw_only=True)
class OuterLoop:
    """How to train across tasks: minimise J = sum_t L(T_t) + lambda R, in steps of `tasks_per_step` tasks.

    A step descends on J / T, the mean task loss plus `l2` times the squared length of the weights plus
    `gradient_norm` times the squared length of the mean loss's gradient (double backpropagation, Drucker and LeCun
    1992): the two are lambda / T, so that rates and clipping mean the same for every batch size.
    """

    steps: int = 2000
    tasks_per_step: int = 16
    learning_rate: float = 1e-3
    """At its highest; it rises linearly over `warmup_steps`, then falls along a cosine to a hundredth."""
    warmup_steps: int = 50
    l2: float = 1e-5
    gradient_norm: float = 0.0
    clip_norm: float = 1.0
    """Longest gradient of J over its number of tasks; longer ones are scaled down."""
    replay_share: float = 0.25
    """Of the tasks of a step, those that were seen before."""
    replay_capacity: int = 256
    """Past tasks kept."""
    validate_every: int = 100
    validation_tasks: int = 48
    patience: int = 10
    """Stop after so many validations without a better one."""
    averaging: float = 0.0
    """Above 0: validate and return a running average of the weights that decays by this each step (0.99, say)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: mixed precision with bfloat16 on CUDA, float32 elsewhere."""
    device: str = "auto"
    """`auto`: CUDA when present."""
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done))))


class Watcher:
    """Told of every step; may save and stop. This one does nothing."""

    def on_progress(self, training: Training, progress: Progress) -> None:
        """A step is done."""

    def should_stop(self) -> bool:
        """Whether to end after this step, as if it were the last."""
        return False


def meta_train(
    learner: Trainable,
    source: TaskSource,
    config: OuterLoop,
    *,
    validation: TaskSource | None = None,
    watcher: Watcher | None = None,
    training: Training | None = None,
) -> Training:
    """Train to the end, or go on with a restored `training`; leaves the best weights in `learner.module`.

    Raises:
        LearnerInputError: a source of tasks that the learner cannot take, or a loss that is not a number.
    """
    training = training or Training(learner, source, config, validation)
    watcher = watcher or Watcher()
    broken = 0
    while not training.finished:
        progress = training.advance()
        broken = 0 if math.isfinite(progress.gradient_norm) else broken + 1
        if broken >= 20:
            raise LearnerInputError(
                f"training broke down before step {progress.step}: 20 losses in a row are no number; "
                "lower the learning rate or the inner rate"
            )
        watcher.on_progress(training, progress)
        if watcher.should_stop():
            break
    training.finish()
    return training
