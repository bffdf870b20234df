"""Meta-training speed: MAML over many tasks at once, a plain loop, and parallel-metalearn.

usage: python -m benchmarks.meta [--seconds 20] [--tasks 32] [--inner-steps 5] [--threads 2]

One outer step: adapt to every task by so many inner steps with second derivatives, differentiate the query losses,
let Adam step. Same network, same tasks, same first weights; the first losses are compared, so that all three are
known to compute the same. Repetitions take turns, so that what else the machine does hits all alike.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from kshot.learners.maml import Maml
from kshot.learners.networks import Perceptron, RowNetwork
from kshot.learners.tasks import Task, TaskBatch, collate

RATE = 0.05
Step = Callable[[], float]
"""Does one outer step and returns the mean query loss before it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each setting")
    parser.add_argument("--tasks", type=int, default=32)
    parser.add_argument("--inner-steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    told = parser.parse_args()
    torch.set_num_threads(told.threads)
    print(f"{told.tasks} tasks a step, {told.inner_steps} inner steps, second order, {told.threads} threads; ms a step")
    for name, make, batch in settings(told.tasks):
        steps = {
            "kshot": ours(make(), batch, told.inner_steps),
            "plain loop": plain_loop(make(), batch, told.inner_steps),
        }
        peer = parallel_metalearn(make(), batch, told.inner_steps)
        if peer is not None:
            steps["parallel-metalearn"] = peer
        report(name, measure(steps, told.seconds))
    if peer is None:
        print("parallel-metalearn is not installed: pip install 'kshot[bench]'", file=sys.stderr)


def settings(tasks: int) -> Iterator[tuple[str, Callable[[], nn.Module], TaskBatch]]:
    """The two networks that matter: plain numbers, and rows of any schema."""
    rng = np.random.default_rng(0)

    def of(shape: tuple[int, ...], n_way: int, shots: int, queries: int) -> TaskBatch:
        def side(count: int) -> tuple[Any, Any]:
            labels = np.repeat(np.arange(n_way), count)
            rows = rng.normal(size=(len(labels), *shape)) + 0.5 * labels.reshape(-1, *[1] * len(shape))
            rows[..., 0] = 1.0
            return rows.astype(np.float32), labels.astype(np.int64)

        return collate([Task(*side(shots), *side(queries), n_way, "multiclass") for _ in range(tasks)])

    yield "perceptron, 5-way 5-shot, 20 numbers", lambda: _seeded(lambda: Perceptron(20, 5, 64)), of((20,), 5, 5, 15)
    yield "rows of any schema, 12 columns", lambda: _seeded(lambda: RowNetwork(2)), of((12, 17), 2, 20, 30)


def ours(network: nn.Module, batch: TaskBatch, inner_steps: int) -> Step:
    """All tasks at once."""
    learner = Maml(network=network, n_outputs=5, inner_steps=inner_steps, inner_rate=RATE, learned_rates=False)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    assert learner.module is not None

    def step() -> float:
        optimiser.zero_grad()
        loss = learner.query_losses(batch).mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def plain_loop(network: nn.Module, batch: TaskBatch, inner_steps: int) -> Step:
    """One task after another, as most code does it: autograd with create_graph."""
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    cross_entropy = nn.functional.cross_entropy

    def one(t: int) -> torch.Tensor:
        fast = dict(network.named_parameters())
        for _ in range(inner_steps):
            outputs = torch.func.functional_call(network, fast, (batch.support[t],))
            loss = cross_entropy(outputs, batch.support_labels[t])
            slopes = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
            fast = {name: value - RATE * slope for (name, value), slope in zip(fast.items(), slopes, strict=True)}
        return cross_entropy(torch.func.functional_call(network, fast, (batch.queries[t],)), batch.query_labels[t])

    def step() -> float:
        optimiser.zero_grad()
        loss = torch.stack([one(t) for t in range(len(batch))]).mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def parallel_metalearn(network: nn.Module, batch: TaskBatch, inner_steps: int) -> Step | None:
    """The peer from PyPI (0.5.6), as its README uses it; None where it is not installed."""
    try:
        from metalearn.algorithms.MAML import MAML
        from metalearn.inner_optimizers.optimizers import InnerSGD
        from metalearn.loss.categorical_accuracy import CategoricalAccuracy
        from metalearn.loss.CEloss import CrossEntropy
        from metalearn.model_wrappers.MAMLWrapper import MAML_Model
    except ImportError:
        return None

    class Body(nn.Module):
        """Its models are told the step and whether they train."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, rows: torch.Tensor, **told: Any) -> torch.Tensor:
            return self.network.embed(rows)

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = network.head

        def forward(self, rows: torch.Tensor, **told: Any) -> torch.Tensor:
            return self.linear(rows)

    body = Body()
    head = Head()
    del body.network.head
    body.network.head = None
    model = MAML_Model(backbone=body, head=head)
    inner = InnerSGD(initial_fast_weights=model.get_fast_weights(), inner_lr=RATE, learn_lr=False)
    algorithm = MAML(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        inner_optimizer=inner,
        support_loss_fn=CrossEntropy(metric_fn=CategoricalAccuracy()),
        inner_steps=inner_steps,
        chunk_size=len(batch),
        device=torch.device("cpu"),
    )
    data = (batch.support, {"labels": batch.support_labels}, batch.queries, {"labels": batch.query_labels})

    def step() -> float:
        return float(algorithm.step(iter([data]), training=True)[0])

    return step


def measure(steps: dict[str, Step], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each repetition; asserts that all begin at the same loss and stay together."""
    losses = {name: [step() for _ in range(3)] for name, step in steps.items()}
    for name, values in losses.items():
        if not np.allclose(values, losses["kshot"], atol=1e-4):
            sys.exit(f"{name} computes something else: losses {values}, kshot {losses['kshot']}")
    times: dict[str, list[float]] = {name: [] for name in steps}
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or min(map(len, times.values())) < 3:
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - began))
    return times


def report(name: str, times: dict[str, list[float]]) -> None:
    ours_ms = statistics.median(times["kshot"])
    print(f"\n{name}")
    for who, each in times.items():
        middle = statistics.median(each)
        print(
            f"  {who:20s} median {middle:8.1f}  least {min(each):8.1f}  of {len(each):4d}"
            + ("" if who == "kshot" else f"   kshot is {middle / ours_ms:.2f}x as fast")
        )


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


if __name__ == "__main__":
    main()
