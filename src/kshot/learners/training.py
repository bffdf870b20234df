"""A training under way: one step after another, validated, with the best weights kept."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from kshot.episodes.episode import Episode
from kshot.learners.learner import TaskSource
from kshot.learners.reading import LearnerInputError
from kshot.learners.replay import TaskStream
from kshot.learners.tasks import Task, TaskBatch, collate

if TYPE_CHECKING:
    from kshot.learners.outer_loop import OuterLoop


class Trainable(Protocol):
    """What the outer loop needs of a learner."""

    @property
    def module(self) -> nn.Module:
        """What is trained."""
        ...

    def encode(self, episode: Episode) -> list[Task]:
        """Turn an episode into tasks of numbers."""
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
    """Episodes of the step."""
    replayed: int
    """Of these, those that came back."""
    validation_loss: float | None = None
    """Of the validation after this step, if there was one."""
    best: bool = False
    """Whether that was the best one so far."""


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
        self.curve: list[tuple[int, float]] = []
        """Step and loss of every validation."""
        self.cpu_seconds = 0.0
        """CPU time of all steps, those before a resume too; counted by whoever watches: this room has no clock."""
        self._validation = self._draw_validation(validation)

    @property
    def finished(self) -> bool:
        """Whether all steps are done or validation has stopped getting better."""
        return self.step >= self.config.steps or self.stale >= self.config.patience

    @property
    def converged(self) -> bool | None:
        """Whether validation has stopped getting better (for `patience` validations); None where nothing validates."""
        return self.stale >= self.config.patience if self._validation else None

    def advance(self) -> Progress:
        """Do one step, and validate when it is time."""
        config = self.config
        rate = config.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        tasks, replayed = self.stream.step(self.step, config.tasks_per_step)
        with _seeded(config.seed, self.step):
            self.module.train()
            loss, norm = self._descend(tasks)
            self.module.eval()
        self.step += 1
        validation_loss, best = None, False
        if self._validation and (self.step % config.validate_every == 0 or self.step >= config.steps):
            validation_loss = self.validate()
            best = validation_loss < self.best_loss
            self.stale = 0 if best else self.stale + 1
            self.curve.append((self.step, validation_loss))
            if best:
                self.best_loss, self.best = validation_loss, _copy(self._candidate())
        return Progress(self.step, loss, norm, rate, config.tasks_per_step, replayed, validation_loss, best)

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
        tasks = [task for rng in rngs for task in self.learner.encode(source.draw(rng))]
        size = self.config.tasks_per_step
        return [batch for start in range(0, len(tasks), size) for batch in batches(tasks[start : start + size])]


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
