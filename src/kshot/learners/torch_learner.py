"""What all learners made of torch share: encoding tasks, the outer loop, adapting, scoring."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kshot.episodes.episode import UNKNOWN, Episode, Loss
from kshot.learners.encoding import RelativeEncoder
from kshot.learners.inner_loop import losses_of
from kshot.learners.learner import Adapted, Labels, Learner, TaskSource, check_labels
from kshot.learners.losses import threat_scores
from kshot.learners.networks import RowNetwork
from kshot.learners.reading import Floats, Frame, LearnerInputError, plain_numbers
from kshot.learners.tasks import Task, TaskBatch, collate

if TYPE_CHECKING:
    from kshot.learners.outer_loop import OuterLoop, Watcher

Rows = NDArray[np.float32]
Encode = Callable[[Frame], Rows]
State = Any
"""What adapting T tasks left: tensors with a leading T."""
_SCORED_ROWS = 2048
"""Rows scored at a time."""


@dataclass(kw_only=True, eq=False)
class TorchLearner(Learner):
    """A learner whose `module` the outer loop trains. Its own part: `adapt_batch` and `outputs`."""

    network: nn.Module | None = None
    """Scores or embeds rows; a `RowNetwork` by default. Running statistics (batch norm) are refused."""
    n_outputs: int = 2
    """Outputs of the default network: with plain rows the most classes of a task, benign included."""
    rows: Literal["relative", "plain"] = "relative"
    """`relative`: cells of any schema; `plain`: the numbers as they are, of one fixed schema."""
    max_columns: int = 32
    """Of each task: those in which the shots are farthest out."""
    max_support: int = 64
    """Reference rows shown to the network beside the shots, from the commonest to the oddest; ranks are of them all."""
    seed: int = 0
    """Of the first weights."""
    _module: nn.Module | None = field(default=None, init=False, repr=False)

    @property
    def module(self) -> nn.Module:
        """All that is learned across tasks; made on first use."""
        if self._module is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                network = self.network if self.network is not None else self.default_network()
                _refuse_running_statistics(network)
                # Only a training step lets dropout and its like draw.
                self._module = self.build(network).eval()
        return self._module

    def default_network(self) -> nn.Module:
        """Make the network used where none is given."""
        return RowNetwork(self.n_outputs)

    @abstractmethod
    def build(self, network: nn.Module) -> nn.Module:
        """Put the network, and whatever else is learned, into one module."""

    @abstractmethod
    def adapt_batch(self, batch: TaskBatch) -> State:
        """Adapt to the support sets of T tasks; differentiable."""

    @abstractmethod
    def outputs(self, state: State, rows: Tensor, n_classes: int) -> Tensor:
        """(T, m, O) outputs of (T, m, *F) rows; O >= n_classes."""

    def training_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) what the outer loop minimises: by default each task's loss on its queries after adapting."""
        return self.query_losses(batch)

    def query_losses(self, batch: TaskBatch) -> Tensor:
        """(T,) each task's loss on its queries after adapting to its support set."""
        outputs = self.outputs(self.adapt_batch(batch), batch.queries, batch.n_classes)
        return losses_of(outputs, batch.query_labels, batch.query_weights, batch)

    def most_classes(self) -> int:
        """Most classes of plain rows that this learner can tell apart at once."""
        return self.n_outputs

    def encode(self, episode: Episode) -> list[Task]:
        """Turn an episode into tasks of numbers; depends on nothing else.

        Cells are relative to the shots of one threat, so an episode of N threats is N tasks, each of one threat against
        the reference and the others' shots (and against unknown families among the queries). Plain rows make one task.
        """
        labels = check_labels(episode.shots, episode.shot_labels)
        if self.rows == "plain":
            return [self._plain_task(episode, labels)]
        self._refuse_values(labels)
        tasks = []
        for threat in range(1, int(labels.max()) + 1):
            support, support_labels, encode = self._relative_support(episode.reference, episode.shots, labels == threat)
            query_labels = (episode.query_labels == threat).astype(np.int64)
            tasks.append(Task(support, support_labels, encode(episode.queries), query_labels, 2))
        return tasks

    def meta_fit(
        self,
        source: TaskSource,
        config: OuterLoop | None = None,
        *,
        validation: TaskSource | None = None,
        watcher: Watcher | None = None,
    ) -> Self:
        """Train `module` by the outer loop."""
        from kshot.learners.outer_loop import OuterLoop, meta_train

        meta_train(self, source, config or OuterLoop(), validation=validation, watcher=watcher)
        return self

    def adapt(self, reference: Frame, shots: Frame, labels: Labels | None = None) -> Adapted:
        """Adapt to one task; with plain rows to all its classes at once, else to one threat after another."""
        told = check_labels(shots, labels)
        if self.rows == "plain":
            support, support_labels = self._plain_support(reference, shots, told)
            n_classes = self._n_classes(told)
            loss: Loss = "multiclass" if n_classes else "squared-error"
            return self._adapt_one(support, support_labels, n_classes, loss, _plain_rows, benign=len(reference) > 0)
        self._refuse_values(told)
        each: list[Adapted] = []
        for threat in range(1, int(told.max()) + 1):
            support, support_labels, encode = self._relative_support(reference, shots, told == threat)
            each.append(self._adapt_one(support, support_labels, 2, "binary", encode, benign=True))
        return each[0] if len(each) == 1 else OneEach(each)

    def _adapt_one(
        self, support: Rows, labels: Labels, n_classes: int, loss: Loss, encode: Encode, *, benign: bool
    ) -> Adapted:
        nothing = Task(support, labels, support[:0], labels[:0], n_classes, loss)
        device = next(self.module.parameters()).device
        with torch.no_grad():
            state = self.adapt_batch(collate([nothing]).to(device))
        return TorchAdapted(self, state, encode, n_classes, benign=benign)

    def _relative_support(
        self, reference: Frame, shots: Frame, of_threat: NDArray[np.bool_]
    ) -> tuple[Rows, Labels, Encode]:
        """(n, d, channels) the shots of one threat and what it is not, their labels, and what encodes queries."""
        own, others = take(shots, np.flatnonzero(of_threat)), take(shots, np.flatnonzero(~of_threat))
        if not len(reference):  # then the other threats are what this one is measured against
            reference, others = others, others[:0]
        encoder = RelativeEncoder(reference, own, self.max_columns, self.max_support)
        rest = encoder.encode(others) if len(others) else encoder.reference[:0]
        support = np.concatenate([encoder.shots, encoder.reference, rest])
        labels = np.zeros(len(support), np.int64)
        labels[: len(encoder.shots)] = 1
        return support, labels, encoder.encode

    def _plain_task(self, episode: Episode, labels: Labels) -> Task:
        support, support_labels = self._plain_support(episode.reference, episode.shots, labels)
        n_classes = self._n_classes(labels)
        query_labels: Labels = episode.query_labels.astype(np.float32)
        if n_classes:
            query_labels = episode.query_labels.astype(np.int64)
            if not len(episode.reference):  # benign rows of which none was shown
                query_labels = np.where(query_labels == 0, UNKNOWN, query_labels)
        return Task(support, support_labels, _plain_rows(episode.queries), query_labels, n_classes, episode.loss)

    def _plain_support(self, reference: Frame, shots: Frame, labels: Labels) -> tuple[Rows, Labels]:
        rows = _plain_rows(shots)
        if len(reference):
            rows = np.concatenate([rows, _plain_rows(reference)])
        return rows, np.concatenate([labels, np.zeros(len(rows) - len(labels), labels.dtype)])

    def _n_classes(self, labels: Labels) -> int:
        """Classes of a task of plain rows, benign included; 0 where labels are values."""
        if np.issubdtype(labels.dtype, np.floating):
            return 0
        n_classes = int(labels.max()) + 1
        if n_classes > self.most_classes():
            raise LearnerInputError(
                f"{self.name} was made for {self.most_classes()} classes, a task has {n_classes}; "
                "set n_outputs to one more than the families of a task"
            )
        return n_classes

    def _refuse_values(self, labels: Labels) -> None:
        if np.issubdtype(labels.dtype, np.floating):
            raise LearnerInputError(f"{self.name} regresses on values of plain rows only; set rows to plain")


def _plain_rows(rows: Frame) -> Rows:
    return plain_numbers(rows).astype(np.float32)


def _refuse_running_statistics(network: nn.Module) -> None:
    """A network whose state changes as it is called would carry one task's rows into another's answer."""
    for name, module in network.named_modules():
        if getattr(module, "track_running_stats", False):
            raise LearnerInputError(
                f"the network's {name} ({type(module).__name__}) keeps running statistics across tasks; use LayerNorm"
            )


class TorchAdapted(Adapted):
    """The state of one adapted task, and how to encode rows for it."""

    def __init__(self, learner: TorchLearner, state: State, encode: Encode, n_classes: int, *, benign: bool) -> None:
        self._learner, self._state, self._encode = learner, state, encode
        self._n_classes, self._benign = n_classes, benign

    def score(self, queries: Frame) -> Floats:
        """Score rows, some thousands at a time."""
        device = next(self._learner.module.parameters()).device
        parts = []
        with torch.no_grad():
            for start in range(0, max(1, len(queries)), _SCORED_ROWS):
                rows = torch.from_numpy(self._encode(queries[start : start + _SCORED_ROWS])).to(device)
                outputs = self._learner.outputs(self._state, rows[None], self._n_classes)[0]
                parts.append(threat_scores(outputs, self._n_classes, benign=self._benign).double().cpu().numpy())
        scores = np.concatenate(parts)
        return scores[:, 0] if scores.shape[1] == 1 else scores


class OneEach(Adapted):
    """Several threats, each against the reference alone."""

    def __init__(self, members: list[Adapted]) -> None:
        self._members = members

    def score(self, queries: Frame) -> Floats:
        """(m, N)."""
        return np.column_stack([member.score(queries) for member in self._members])


def take(rows: Frame, indices: NDArray[np.intp]) -> Frame:
    """Return some rows of a frame or of plain numbers."""
    out: Frame = rows[indices]
    return out
