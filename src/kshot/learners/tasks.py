"""Tasks as tensors: many episodes in one batch, padded, with weights that balance the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kshot.episodes.episode import Loss

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Task:
    """One encoded episode. F is the shape of a row: (d, channels) cells, or (d,) plain numbers."""

    support: NDArray[np.float32]
    """(n, *F)."""
    support_labels: Array
    """(n,) int64 classes 0..W-1, or float32 values."""
    queries: NDArray[np.float32]
    """(m, *F)."""
    query_labels: Array
    """(m,) as above; a class below 0 is of no class shown and counts in no loss."""
    n_classes: int
    """W; 0 where values are regressed on."""
    loss: Loss = "binary"


@dataclass(frozen=True, slots=True)
class TaskBatch:
    """T tasks of one loss, padded to the same shape; padded rows weigh nothing, padded columns are all 0."""

    support: Tensor
    """(T, n, *F)."""
    support_labels: Tensor
    """(T, n)."""
    support_weights: Tensor
    """(T, n) sums to 1 in each task, every class weighing the same."""
    queries: Tensor
    """(T, m, *F)."""
    query_labels: Tensor
    """(T, m)."""
    query_weights: Tensor
    """(T, m) as `support_weights`."""
    n_classes: int
    """W, the most of any task; a task with fewer simply never has the last ones."""
    loss: Loss

    def __len__(self) -> int:
        return self.support.shape[0]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> TaskBatch:
        """Return the batch elsewhere, its numbers in another precision if `dtype` is given."""

        def moved(value: Tensor) -> Tensor:
            return value.to(device=device, dtype=dtype if value.is_floating_point() else None)

        tensors: dict[str, Any] = {f.name: moved(getattr(self, f.name)) for f in fields(self)[:6]}
        return replace(self, **tensors)

    def one(self, task: int) -> TaskBatch:
        """Return the batch of one of its tasks, padding and all."""
        tensors: dict[str, Any] = {f.name: getattr(self, f.name)[task : task + 1] for f in fields(self)[:6]}
        return replace(self, **tensors)


def collate(tasks: Sequence[Task]) -> TaskBatch:
    """Pad tasks of the same loss and row rank into one batch.

    Raises:
        ValueError: no task, or tasks of different losses.
    """
    kinds = {(task.loss, task.support.ndim) for task in tasks}
    if len(kinds) != 1:
        raise ValueError(f"a batch holds tasks of one loss and one kind of row, not {sorted(kinds)}")
    wanted = tasks[0].support.shape[1:]
    shape = tuple(max(task.support.shape[1 + i] for task in tasks) for i in range(len(wanted)))
    n, m = max(len(t.support) for t in tasks), max(len(t.queries) for t in tasks)
    n_classes = max(task.n_classes for task in tasks)
    support, labels, weights = _side([(t.support, t.support_labels) for t in tasks], n, shape, n_classes)
    queries, query_labels, query_weights = _side([(t.queries, t.query_labels) for t in tasks], m, shape, n_classes)
    return TaskBatch(
        support, labels, weights, queries, query_labels, query_weights, n_classes, tasks[0].loss
    )  # fmt: skip


def balanced_weights(labels: Array, n_classes: int) -> NDArray[np.float32]:
    """(n,) weights that sum to 1, each class present weighing the same; labels below 0 weigh nothing."""
    if not n_classes:
        return np.full(len(labels), 1.0 / max(1, len(labels)), np.float32)
    known = labels >= 0
    counts = np.bincount(labels[known].astype(np.int64), minlength=n_classes)
    share = 1.0 / np.maximum(counts, 1) / max(1, int((counts > 0).sum()))
    return np.where(known, share[np.where(known, labels, 0).astype(np.int64)], 0.0).astype(np.float32)


def _side(
    parts: list[tuple[NDArray[np.float32], Array]], n: int, shape: tuple[int, ...], n_classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    rows = np.zeros((len(parts), n, *shape), np.float32)
    labels = np.zeros((len(parts), n), np.int64 if n_classes else np.float32)
    weights = np.zeros((len(parts), n), np.float32)
    for t, (x, y) in enumerate(parts):
        inside: tuple[slice, ...] = tuple(slice(size) for size in x.shape)
        rows[t][inside] = x
        labels[t, : len(y)] = np.maximum(y, 0) if n_classes else y
        weights[t, : len(y)] = balanced_weights(y, n_classes)
    return torch.from_numpy(rows), torch.from_numpy(labels), torch.from_numpy(weights)
