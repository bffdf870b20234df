"""Forest in the loop: a forest on every task, a meta-learner that reads what forests say across tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kshot.episodes.episode import Episode
from kshot.learners.encoding import canonical_order
from kshot.learners.forest_features import N_FEATURES, SURPRISE, InnerForest, Kind
from kshot.learners.learner import Adapted, Labels, check_labels
from kshot.learners.networks import Perceptron
from kshot.learners.reading import Floats, Frame, LearnerInputError, Reader, as_frame
from kshot.learners.tasks import Task, TaskBatch
from kshot.learners.torch_learner import OneEach, TorchLearner, take

_SURE_THREAT = 0.005
"""A pool row is taken for a threat where at most so much of the reference scores as high..."""
_PLAIN_BENIGN = 0.1
"""...and for benign where at least so much does; what lies between teaches nothing."""


@dataclass(kw_only=True, eq=False)
class ForestInTheLoop(TorchLearner):
    """An inner learner without gradients, and a meta-learner on what it says.

    On each task extremely randomised trees (Geurts et al. 2006) or a random forest (Breiman 2001) are grown on the
    reference and the shots of one threat. A row is then described by scores, votes and leaves (`FEATURES`), each
    meaning the same in every task, and a network learned across tasks turns that into log-odds: stacked
    generalisation (Wolpert 1992) where the level-1 data come from other tasks. Several threats: a forest each.

    `adapt_unlabelled`: the meta-learner labels a pool of a new site's unlabelled records, and a forest grown on these
    scores what comes after: self-training (Yarowsky 1995) by a labeller that was itself learned.
    """

    name: ClassVar[str] = "forest-in-the-loop"
    uses_pool: ClassVar[bool] = True
    trees: Kind = "extra-trees"
    n_trees: int = 64
    n_trees_of_pool: int = 300
    width: int = 32
    forest_seed: int = 0

    def default_network(self) -> nn.Module:
        """A perceptron on the features."""
        return Perceptron(N_FEATURES, 2, self.width)

    def build(self, network: nn.Module) -> nn.Module:
        """The meta-learner: it corrects the forest's score, which it equals before training."""
        return _Corrected(network)

    def encode(self, episode: Episode) -> list[Task]:
        """Grow a forest for each threat and describe the queries by it."""
        labels = check_labels(episode.shots, episode.shot_labels)
        self._refuse_values(labels)
        nothing, no_label = np.zeros((1, N_FEATURES), np.float32), np.zeros(1, np.int64)
        tasks = []
        for threat in range(1, int(labels.max()) + 1):
            task = self._grow(*_one_threat(episode.reference, episode.shots, labels == threat))
            queries = task.forest.features(task.read(episode.queries))
            tasks.append(Task(nothing, no_label, queries, (episode.query_labels == threat).astype(np.int64), 2))
        return tasks

    def adapt_batch(self, batch: TaskBatch) -> None:
        """Nothing is left to adapt: the forest has."""

    def outputs(self, state: None, rows: Tensor, n_classes: int) -> Tensor:
        """(T, m, 2) from (T, m, FEATURES)."""
        out: Tensor = self.module(rows)
        return out

    def adapt(self, reference: Frame, shots: Frame, labels: Labels | None = None) -> Adapted:
        """Grow a forest for each threat."""
        told = check_labels(shots, labels)
        self._refuse_values(told)
        threats = [told == threat for threat in range(1, int(told.max()) + 1)]
        each = [_OneForest(self, self._grow(*_one_threat(reference, shots, of))) for of in threats]
        return each[0] if len(each) == 1 else OneEach(list(each))

    def adapt_unlabelled(self, reference: Frame, shots: Frame, pool: Frame, labels: Labels | None = None) -> Adapted:
        """Adapt, label the (p, d) `pool` rows, and score by a forest grown on reference, shots and pool.

        No row that will be scored may be in the pool: it would have judged itself.
        """
        told = check_labels(shots, labels)
        if not len(pool):
            raise LearnerInputError("the pool of unlabelled records is empty; adapt without one")
        self._refuse_values(told)
        threats = [told == threat for threat in range(1, int(told.max()) + 1)]
        each = [self._on_pool(*_one_threat(reference, shots, of), pool) for of in threats]
        return each[0] if len(each) == 1 else OneEach(list(each))

    def probability(self, features: Any) -> Floats:
        """(m,) chance of threat, by the meta-learner, where half of the rows are."""
        with torch.no_grad():
            outputs = self.module(torch.from_numpy(features).to(next(self.module.parameters()).device))
        return np.asarray(outputs.softmax(-1)[:, 1].double().cpu().numpy(), np.float64)

    def _grow(self, reference: Frame, shots: Frame) -> _Grown:
        reader = Reader(reference, shots)
        known, shown = reader.read(reference), reader.read(shots)
        order = canonical_order(known if len(known) else shown, shown, reader.columns)
        known, shown = _in_order(known[:, order]), _in_order(shown[:, order])
        rng = np.random.default_rng(self.forest_seed)
        forest = InnerForest(known, shown, n_trees=self.n_trees, kind=self.trees, rng=rng)
        return _Grown(reader, order, known, shown, forest)

    def _on_pool(self, reference: Frame, shots: Frame, pool: Frame) -> Adapted:
        task = self._grow(reference, shots)
        rows = _in_order(task.read(pool))
        features = task.forest.features(rows)
        chance = self.probability(features)
        # Only what hardly any benign record resembles counts as more of the threat.
        least = -np.log(max(_SURE_THREAT, 1.5 / (len(task.known) + 1.0)))
        threat = (chance > 0.5) & (features[:, SURPRISE] >= least)
        benign = ~threat & (features[:, SURPRISE] <= -np.log(_PLAIN_BENIGN))
        forest = InnerForest(
            np.concatenate([task.known, rows[benign]]),
            np.concatenate([task.shown, rows[threat]]),
            n_trees=self.n_trees_of_pool,
            kind=self.trees,
            rng=np.random.default_rng(self.forest_seed),
            weights=np.r_[np.ones(len(task.shown)), 2.0 * chance[threat] - 1.0],
        )
        return _PoolForest(replace(task, forest=forest))


@dataclass(frozen=True, slots=True)
class _Grown:
    """One task: how its rows are read, what was shown, and the forest on it."""

    reader: Reader
    order: NDArray[np.intp]
    known: Floats
    shown: Floats
    forest: InnerForest

    def read(self, rows: Frame) -> Floats:
        return self.reader.read(rows)[:, self.order]


class _Corrected(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1:]
        for layer in last:  # begin as the forest alone
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(..., FEATURES) -> (..., 2): the forest's log-odds and a learned correction."""
        score = features[..., :1]
        out: Tensor = self.network(features) + torch.cat([-score / 2.0, score / 2.0], -1)
        return out


class _OneForest(Adapted):
    def __init__(self, learner: ForestInTheLoop, task: _Grown) -> None:
        self._learner, self._task = learner, task

    def score(self, queries: Frame) -> Floats:
        """Log-odds by the meta-learner."""
        features = torch.from_numpy(self._task.forest.features(self._task.read(queries)))
        module = self._learner.module
        with torch.no_grad():
            outputs = module(features.to(next(module.parameters()).device))
        return np.asarray((outputs[:, 1] - outputs[:, 0]).double().cpu().numpy(), np.float64)


class _PoolForest(Adapted):
    def __init__(self, task: _Grown) -> None:
        self._task = task

    def score(self, queries: Frame) -> Floats:
        """Log-odds of the forest grown on the pool."""
        return self._task.forest.scores(self._task.read(queries))


def _one_threat(reference: Frame, shots: Frame, of_threat: NDArray[np.bool_]) -> tuple[Frame, Frame]:
    """What one threat is not (the reference and the others' shots), and its shots."""
    others = as_frame(take(shots, np.flatnonzero(~of_threat)))
    known = as_frame(reference)
    return pl.concat([known, others]) if len(others) else known, take(shots, np.flatnonzero(of_threat))


def _in_order(rows: Floats) -> Floats:
    """Sort rows by content, so that trees drawn by the same seed do not depend on the order given."""
    return rows[np.lexsort(np.nan_to_num(rows, nan=-1e31).T[::-1])] if len(rows) else rows
