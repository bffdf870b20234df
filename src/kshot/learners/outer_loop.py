"""The outer loop, one for all learners: minimises the loss of adapted learners over many tasks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kshot.episodes.episode import Episode
from kshot.learners.learner import TaskSource
from kshot.learners.reading import LearnerInputError
from kshot.learners.replay import TaskStream
from kshot.learners.tasks import Task, TaskBatch, collate


@dataclass(frozen=True, kw_only=True)
class OuterLoop:
    """How to train across tasks: minimise J = sum_t L(T_t) + lambda R, in steps of `tasks_per_step` tasks.

    R is the squared length of the weights (`l2`) and of the gradient of the sum (`gradient_norm`, as in double
    backpropagation, Drucker and LeCun 1992). Each step divides J by its number of tasks, so that rates and clipping
    mean the same for every batch size.
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


class Trainable(Protocol):
    """What the outer loop needs of a learner."""

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        ...

    def encode(self, episode: Episode) -> Task:
        """Turn an episode into numbers."""
        ...

    def training_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) what to minimise."""
        ...

    def query_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) what tells how good it is."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """What one step did, or one validation found."""

    step: int
    """Steps done."""
    loss: float
    """Mean training loss of the step's tasks."""
    gradient_norm: float
    """Before clipping; not a number where the step was skipped for it."""
    learning_rate: float
    tasks: int
    replayed: int
    validation_loss: float | None = None
    """Of the validation after this step, if there was one."""
    best: bool = False
    """Whether that was the best one so far."""


class Watcher:
    """Told of every step; may save and stop. This one does nothing."""

    def on_progress(self, training: Training, progress: Progress) -> None:
        """A step is done."""

    def should_stop(self) -> bool:
        """Whether to end after this step, as if it were the last."""
        return False


class Training:
    """A training under way; all of its state can be saved and restored (`checkpoint.py`)."""

    def __init__(self, learner: Trainable, source: TaskSource, config: OuterLoop, validation: TaskSource | None):
        self.learner, self.config = learner, config
        self.device = _device(config.device)
        self.module = learner.module.to(self.device)
        self.trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.Adam(self.trained.values(), lr=config.learning_rate)
        self.stream = TaskStream(
            lambda rng: learner.encode(source.draw(rng)), config.seed, config.replay_share, config.replay_capacity
        )
        self.step = 0
        self.average = _copy(self.trained) if config.averaging else None
        self.best: dict[str, Tensor] | None = None
        self.best_loss = math.inf
        self.stale = 0
        """Validations since the best one."""
        self._validation = self._draw_validation(validation)

    @property
    def finished(self) -> bool:
        """Whether all steps are done or validation has stopped getting better."""
        return self.step >= self.config.steps or self.stale >= self.config.patience

    def advance(self) -> Progress:
        """Do one step, and validate when it is time."""
        config = self.config
        rate = config.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        tasks, replayed = self.stream.step(self.step, config.tasks_per_step)
        with _seeded(config.seed, self.step):
            loss, norm = self._descend(tasks)
        self.step += 1
        validation_loss, best = None, False
        if self._validation and (self.step % config.validate_every == 0 or self.step >= config.steps):
            validation_loss = self.validate()
            best = validation_loss < self.best_loss
            self.stale = 0 if best else self.stale + 1
            if best:
                self.best_loss, self.best = validation_loss, _copy(self._candidate())
        return Progress(self.step, loss, norm, rate, len(tasks), replayed, validation_loss, best)

    def validate(self) -> float:
        """Mean query loss over the validation tasks, by the averaged weights if there are any."""
        with self._weights(self._candidate()), torch.no_grad(), self._precision():
            losses = [self.learner.query_losses(batch.to(self.device)) for batch in self._validation]
        return float(torch.cat(losses).double().mean())

    def finish(self) -> None:
        """Leave the best weights in the module; without validation the last (or averaged) ones."""
        chosen = self.best if self.best is not None else self._candidate()
        self._put({name: value.clone() for name, value in chosen.items()})

    def _descend(self, tasks: Sequence[Task]) -> tuple[float, float]:
        """Take one optimiser step; return the mean task loss and the gradient's length before clipping."""
        config, parameters = self.config, list(self.trained.values())
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            losses = [self.learner.training_losses(batch.to(self.device)) for batch in batches(tasks)]
        mean = torch.cat([part.float() for part in losses]).sum() / len(tasks)
        penalty = config.l2 * sum((p.square().sum() for name, p in self.trained.items() if _weighs(name)), mean * 0.0)
        if config.gradient_norm:
            slopes = torch.autograd.grad(mean, parameters, create_graph=True, allow_unused=True)
            lengths = [g.square().sum() for g in slopes if g is not None]
            penalty = penalty + config.gradient_norm * torch.stack(lengths).sum()
        torch.autograd.backward(mean + penalty)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm))
        if not math.isfinite(norm):  # one broken batch must not end a long training: leave it out
            return float(mean.detach()), math.nan
        self.optimizer.step()
        if self.average is not None:
            # Early on the average forgets faster, so that it does not drag the first weights along.
            decay = min(config.averaging, (1.0 + self.step) / (10.0 + self.step))
            for name, value in self.trained.items():
                self.average[name].lerp_(value.detach(), 1.0 - decay)
        return float(mean.detach()), norm

    def _candidate(self) -> dict[str, Tensor]:
        return self.average if self.average is not None else {n: p.detach() for n, p in self.trained.items()}

    @contextlib.contextmanager
    def _weights(self, values: dict[str, Tensor]) -> Iterator[None]:
        own = _copy(self.trained)
        self._put(values)
        try:
            yield
        finally:
            self._put(own)

    def _put(self, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(values[name])

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        wanted = self.config.precision
        if wanted == "bfloat16" or (wanted == "auto" and self.device.type == "cuda"):
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def _draw_validation(self, source: TaskSource | None) -> list[TaskBatch]:
        if source is None:
            return []
        rngs = [np.random.default_rng([self.config.seed, 2, i]) for i in range(self.config.validation_tasks)]
        tasks = [self.learner.encode(source.draw(rng)) for rng in rngs]
        size = self.config.tasks_per_step
        return [batch for start in range(0, len(tasks), size) for batch in batches(tasks[start : start + size])]


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


def batches(tasks: Sequence[Task]) -> list[TaskBatch]:
    """Put tasks of the same loss and kind of row together."""
    ordered = sorted(tasks, key=_kind)
    return [collate(list(group)) for _, group in groupby(ordered, key=_kind)]


def _kind(task: Task) -> tuple[str, int]:
    return task.loss, task.support.ndim


def _weighs(name: str) -> bool:
    """Learning rates and scales kept as logarithms are no weights: 0 is nothing special for them."""
    return "log_" not in name


def _copy(parameters: dict[str, nn.Parameter] | dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in parameters.items()}


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=wanted).device
    except (RuntimeError, AssertionError) as error:
        raise LearnerInputError(f"--device {wanted}: torch finds none; the CPU is `cpu`") from error


@contextlib.contextmanager
def _seeded(seed: int, step: int) -> Iterator[None]:
    """Let whatever draws inside torch (dropout of a user's network) depend on the seed and step alone."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_available() else []):
        torch.manual_seed((seed * 1_000_003 + step) % 2**63)
        yield
