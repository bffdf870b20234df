"""What all learners made of torch share: encoding tasks, training by the outer loop, adapting, scoring."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kshot.episodes.episode import Episode, Loss
from kshot.learners.encoding import RelativeEncoder
from kshot.learners.inner_loop import losses_of
from kshot.learners.learner import Adapted, Labels, Learner, TaskSource, check_labels
from kshot.learners.losses import threat_scores
from kshot.learners.networks import RowNetwork
from kshot.learners.reading import Floats, Frame, LearnerInputError, plain_numbers
from kshot.learners.tasks import Task, TaskBatch, collate

if TYPE_CHECKING:
    from kshot.learners.outer_loop import OuterLoop, Watcher

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
    """Most classes of a task, benign included; a task of more is split into one-against-the-rest ones."""
    rows: Literal["relative", "plain"] = "relative"
    """`relative`: cells of any schema; `plain`: the numbers as they are, of one fixed schema."""
    max_columns: int = 32
    """Of each task: those in which the shots are farthest out."""
    max_support: int = 64
    """Reference rows shown to the network, from the commonest to the oddest; ranks are of them all."""
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
        """Most classes of a task that this learner can tell apart at once."""
        return self.n_outputs

    def encode(self, episode: Episode) -> Task:
        """Turn an episode into numbers; depends on nothing else."""
        labels = check_labels(episode.shots, episode.shot_labels)
        support, support_labels, encoder = self._support(episode.reference, episode.shots, labels)
        regression = episode.loss == "squared-error"
        n_classes = 0 if regression else int(labels.max()) + 1
        if n_classes > self.most_classes():
            raise LearnerInputError(
                f"{self.name} was made for {self.most_classes()} classes, a task has {n_classes}; "
                "set n_outputs to one more than the families of a task"
            )
        query_labels = episode.query_labels.astype(np.float32 if regression else np.int64)
        return Task(support, support_labels, encoder(episode.queries), query_labels, n_classes, episode.loss)

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
        """Adapt to one task; more classes than it can tell apart become one task a threat."""
        told = check_labels(shots, labels)
        regression = np.issubdtype(told.dtype, np.floating)
        n_classes = 0 if regression else int(told.max()) + 1
        if n_classes <= self.most_classes():
            loss: Loss = "squared-error" if regression else "binary" if n_classes == 2 else "multiclass"
            return self._adapt_one(reference, shots, told, n_classes, loss)
        indices = [np.flatnonzero(told == threat) for threat in range(1, n_classes)]
        return OneEach([self.adapt(reference, take(shots, rows)) for rows in indices])

    def _adapt_one(self, reference: Frame, shots: Frame, labels: Labels, n_classes: int, loss: Loss) -> Adapted:
        support, support_labels, encoder = self._support(reference, shots, labels)
        nothing = Task(support, support_labels, support[:0], support_labels[:0], n_classes, loss)
        device = next(self.module.parameters()).device
        with torch.no_grad():
            state = self.adapt_batch(collate([nothing]).to(device))
        return TorchAdapted(self, state, encoder, n_classes)

    def _support(self, reference: Frame, shots: Frame, labels: Labels) -> tuple[Any, Labels, Any]:
        """(n, *F) support rows, their labels, and what encodes queries; shots first."""
        if self.rows == "plain":
            x = plain_numbers(shots)
            if len(reference):
                x = np.concatenate([x, plain_numbers(reference)])
            support = x.astype(np.float32)

            def encode(rows: Frame) -> Any:
                return plain_numbers(rows).astype(np.float32)
        else:
            encoder = RelativeEncoder(reference, shots, self.max_columns, self.max_support)
            support, encode = np.concatenate([encoder.shots, encoder.reference]), encoder.encode
        benign = np.zeros(len(support) - len(labels), labels.dtype)
        return support, np.concatenate([labels, benign]), encode


def _refuse_running_statistics(network: nn.Module) -> None:
    """A network whose state changes as it is called would carry one task's rows into another's answer."""
    for name, module in network.named_modules():
        if getattr(module, "track_running_stats", False):
            raise LearnerInputError(
                f"the network's {name} ({type(module).__name__}) keeps running statistics across tasks; use LayerNorm"
            )


class TorchAdapted(Adapted):
    """The state of one adapted task, and how to encode rows for it."""

    def __init__(self, learner: TorchLearner, state: State, encode: Any, n_classes: int) -> None:
        self._learner, self._state, self._encode, self._n_classes = learner, state, encode, n_classes

    def score(self, queries: Frame) -> Floats:
        """Score rows, some thousands at a time."""
        device = next(self._learner.module.parameters()).device
        parts = []
        with torch.no_grad():
            for start in range(0, max(1, len(queries)), _SCORED_ROWS):
                rows = torch.from_numpy(self._encode(queries[start : start + _SCORED_ROWS])).to(device)
                outputs = self._learner.outputs(self._state, rows[None], self._n_classes)[0]
                parts.append(threat_scores(outputs, self._n_classes).double().cpu().numpy())
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
