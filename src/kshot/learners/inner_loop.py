"""Gradient descent on the support sets of many tasks at once: the inner loop, vectorised by `vmap`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

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
) -> Parameters:
    """Take `steps` of gradient descent from `start` on each task's support rows.

    Args:
        network: called as network(rows).
        start: the parameters that adapt, by name; the same for all tasks. The others stay.
        rates: for each name, (steps, ...) learning rates: each step's broadcasts against the parameter.
        batch: T tasks.
        steps: inner steps, the same for every task.
        first_order: take the inner gradients for constants when differentiating through the descent.

    Returns the T adapted sets, differentiable with respect to `start`, `rates` and the network's other parameters.
    """
    fast = spread(start, len(batch))
    through = torch.is_grad_enabled() and not first_order
    for step in range(steps):
        gradients, _ = support_gradients(network, fast, batch, through=through)
        fast = {name: value - rates[name][step] * gradients[name] for name, value in fast.items()}
    return fast


def spread(start: Mapping[str, Tensor], tasks: int) -> Parameters:
    """Return a view of the same parameters for each of T tasks: a leading T."""
    return {name: value.expand(tasks, *value.shape) for name, value in start.items()}


def support_gradients(
    network: nn.Module, fast: Parameters, batch: TaskBatch, *, through: bool
) -> tuple[Parameters, Tensor]:
    """Return each task's gradient of its support loss with respect to its own parameters, and the (T,) losses.

    The forward pass runs under `vmap`; as no task's loss depends on another's parameters, the gradient of their sum
    is all of their gradients at once, and autograd's engine runs backwards over whole batches. That takes about half
    of the time of `vmap(grad(...))`, which interprets every operation of the backward pass in Python as well.
    `through`: the gradients can be differentiated further; else they are constants.
    """
    resting = _resting(network, fast)

    def one_task(own: Parameters, rows: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        outputs = functional_call(network, {**resting, **own}, (rows,))
        return weighted_loss(outputs, labels, weights, batch.loss, batch.n_classes)

    with torch.enable_grad():
        own = {
            name: value if through and value.requires_grad else value.detach().requires_grad_()
            for name, value in fast.items()
        }
        losses: Tensor = vmap(one_task, randomness="different")(
            own, batch.support, batch.support_labels, batch.support_weights
        )
        slopes = torch.autograd.grad(losses.sum(), list(own.values()), create_graph=through, allow_unused=True)
    gradients = {
        name: torch.zeros_like(value) if slope is None else slope
        for (name, value), slope in zip(own.items(), slopes, strict=True)
    }
    return gradients, losses


def outputs_of(network: nn.Module, adapted: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    """(T, m, O) outputs of (T, m, *F) rows, each task by its own adapted parameters."""
    resting = _resting(network, adapted)

    def one_task(own: Parameters, rows: Tensor) -> Tensor:
        out: Tensor = functional_call(network, {**resting, **own}, (rows,))
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


def _resting(network: nn.Module, adapted: Mapping[str, Tensor]) -> Parameters:
    return {name: value for name, value in network.named_parameters() if name not in adapted}
