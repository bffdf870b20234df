"""Gradient descent on the support sets of many tasks at once: the inner loop, vectorised by `vmap`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from kshot.learners.losses import weighted_loss
from kshot.learners.tasks import TaskBatch

Parameters = dict[str, Tensor]
"""Name -> tensor; adapted ones of T tasks have a leading T."""


def descend(
    network: nn.Module,
    start: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    batch: TaskBatch,
    *,
    steps: int,
    first_order: bool,
    fixed: Mapping[str, Tensor] | None = None,
    chunk_size: int | None = None,
) -> Parameters:
    """Take `steps` of gradient descent from `start` on each task's support rows.

    Args:
        network: called as network(rows).
        start: the parameters that adapt, by name; the same for all tasks.
        rates: for each name, (steps, ...) learning rates: each step's broadcasts against the parameter.
        batch: T tasks.
        steps: inner steps, the same for every task.
        first_order: take the inner gradients for constants when differentiating through the descent.
        fixed: parameters that do not adapt; by default the network's own.
        chunk_size: tasks at a time; all by default. Smaller needs less memory.

    Returns the T adapted sets; they can be differentiated with respect to `start`, `rates` and `fixed`.
    """
    resting = dict(network.named_parameters()) if fixed is None else dict(fixed)
    resting = {name: value for name, value in resting.items() if name not in start}

    def support_loss(fast: Parameters, rows: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        outputs = functional_call(network, {**resting, **fast}, (rows,))
        return weighted_loss(outputs, labels, weights, batch.loss, batch.n_classes)

    def one_task(rows: Tensor, labels: Tensor, weights: Tensor) -> Parameters:
        fast = dict(start)
        for step in range(steps):
            gradients: Parameters = grad(support_loss)(fast, rows, labels, weights)
            if first_order:
                gradients = {name: value.detach() for name, value in gradients.items()}
            fast = {name: value - rates[name][step] * gradients[name] for name, value in fast.items()}
        # A task that took no step still needs a copy of its own.
        return fast if steps else {name: value + 0.0 * rows.sum() for name, value in fast.items()}

    run: Any = vmap(one_task, chunk_size=chunk_size, randomness="different")
    adapted: Parameters = run(batch.support, batch.support_labels, batch.support_weights)
    return adapted


def outputs_of(
    network: nn.Module, adapted: Mapping[str, Tensor], rows: Tensor, fixed: Mapping[str, Tensor] | None = None
) -> Tensor:
    """(T, m, O) outputs of (T, m, *F) rows, each task by its own adapted parameters."""
    resting = dict(network.named_parameters()) if fixed is None else dict(fixed)
    resting = {name: value for name, value in resting.items() if name not in adapted}

    def one_task(fast: Parameters, rows: Tensor) -> Tensor:
        out: Tensor = functional_call(network, {**resting, **fast}, (rows,))
        return out

    out: Tensor = vmap(one_task, randomness="different")(dict(adapted), rows)
    return out


def losses_of(outputs: Tensor, labels: Tensor, weights: Tensor, batch: TaskBatch) -> Tensor:
    """(T,) loss of (T, m, O) outputs."""

    def one_task(outputs: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        return weighted_loss(outputs, labels, weights, batch.loss, batch.n_classes)

    out: Tensor = vmap(one_task)(outputs, labels, weights)
    return out


def detached(parameters: Mapping[str, Tensor]) -> Parameters:
    """Return copies that nothing is differentiated through."""
    return {name: value.detach().clone() for name, value in parameters.items()}


def squared_distance(adapted: Mapping[str, Tensor], start: Mapping[str, Tensor]) -> Tensor:
    """(T,) squared distance of each task's adapted parameters from `start`."""
    parts = [(adapted[name] - value).flatten(1).square().sum(1) for name, value in start.items()]
    return torch.stack(parts).sum(0)
