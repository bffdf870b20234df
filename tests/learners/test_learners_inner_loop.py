"""The inner loop: second derivatives are right, and many tasks at once are the tasks one by one."""

from __future__ import annotations

import numpy as np
import pytest
from fewshot_problems import Shifted

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'kshot[train]'")
torch.set_num_threads(1)

from kshot.learners import make_learner  # noqa: E402
from kshot.learners.networks import Perceptron, RowNetwork  # noqa: E402
from kshot.learners.tasks import Task, TaskBatch, collate  # noqa: E402
from kshot.learners.torch_learner import TorchLearner  # noqa: E402

LEARNERS = ["maml", "anil", "meta-sgd", "reptile", "fine-tuning", "lstm-learner", "prototypical", "relation",
            "ridge-head", "conv-mixture"]  # fmt: skip


def doubles(batch: TaskBatch) -> TaskBatch:
    return batch.to("cpu", torch.float64)


def numbers(rng: np.random.Generator, n: int = 6, m: int = 7, d: int = 3) -> Task:
    def side(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 2
        return (rng.normal(size=(count, d)) + labels[:, None]).astype(np.float32), labels.astype(np.int64)

    return Task(*side(n), *side(m), 2)


def tiny(name: str, **settings: object) -> TorchLearner:
    learner = make_learner(name, network=Perceptron(3, 2, width=4, layers=1), rows="plain", **settings)
    assert isinstance(learner, TorchLearner)
    learner.module.double()
    return learner


@pytest.mark.parametrize("name, settings", [
    ("maml", {"inner_steps": 3}), ("anil", {"inner_steps": 3}), ("meta-sgd", {"inner_steps": 2}),
    ("prototypical", {}), ("ridge-head", {}), ("relation", {"embedding": 2}),
])  # fmt: skip
def test_gradients_through_the_inner_loop_equal_finite_differences(name: str, settings: dict[str, object]) -> None:
    learner = tiny(name, **settings)
    rng = np.random.default_rng(0)
    batch = doubles(collate([numbers(rng) for _ in range(2)]))
    # ReLU has corners: a smooth network, so that differences are exact to their order.
    for module in learner.module.modules():
        if isinstance(module, torch.nn.Sequential):
            for i, layer in enumerate(module):
                if isinstance(layer, torch.nn.ReLU):
                    module[i] = torch.nn.Tanh()
    parameters = [p for p in learner.module.parameters() if p.requires_grad]
    loss = learner.query_losses(batch).sum()
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    step = 1e-5
    for parameter, gradient in zip(parameters, gradients, strict=True):
        flat = parameter.data.view(-1)
        for i in range(0, len(flat), max(1, len(flat) // 4)):
            old = flat[i].item()
            around = []
            for sign in (1, -1):
                flat[i] = old + sign * step
                around.append(float(learner.query_losses(batch).sum().detach()))
            flat[i] = old
            expected = (around[0] - around[1]) / (2 * step)
            found = 0.0 if gradient is None else float(gradient.view(-1)[i])
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_first_order_leaves_the_second_derivatives_out() -> None:
    rng = np.random.default_rng(1)
    batch = doubles(collate([numbers(rng)]))

    def gradient(first_order: bool) -> torch.Tensor:
        learner = tiny("maml", inner_steps=2, first_order=first_order, learned_rates=False)
        head = dict(learner.module.named_parameters())["network.head.weight"]
        return torch.autograd.grad(learner.query_losses(batch).sum(), head)[0]

    assert not torch.allclose(gradient(True), gradient(False), atol=1e-6)


def test_first_order_is_the_gradient_at_the_adapted_weights() -> None:
    learner = tiny("maml", inner_steps=3, inner_rate=0.3, first_order=True, learned_rates=False)
    batch = doubles(collate([numbers(np.random.default_rng(2))]))
    names = dict(learner.module.network.named_parameters())
    found = torch.autograd.grad(learner.query_losses(batch).sum(), list(names.values()))
    adapted = learner.adapt_batch(batch)
    with torch.no_grad():
        for name, value in names.items():
            value.copy_(adapted[name][0])
    outputs = learner.module.network(batch.queries[0])
    loss = torch.nn.functional.cross_entropy(outputs, batch.query_labels[0], weight=None, reduction="none")
    expected = torch.autograd.grad((batch.query_weights[0] * loss).sum(), list(names.values()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", LEARNERS)
def test_tasks_at_once_are_the_tasks_one_by_one(name: str) -> None:
    settings = {} if name == "conv-mixture" else {"network": RowNetwork(2 if name != "relation" else 32)}
    learner = make_learner(name, **settings)
    assert isinstance(learner, TorchLearner)
    learner.module.double()
    source = Shifted(k_shot=2)
    batch = doubles(collate([learner.encode(source.draw(np.random.default_rng(i)))[0] for i in range(4)]))
    together = learner.query_losses(batch)
    trained = learner.training_losses(batch)
    with torch.no_grad():
        for i in range(4):
            torch.testing.assert_close(learner.query_losses(batch.one(i))[0], together[i], atol=1e-6, rtol=1e-6)
            torch.testing.assert_close(learner.training_losses(batch.one(i))[0], trained[i], atol=1e-6, rtol=1e-6)


def test_maml_is_a_plain_loop_of_gradient_steps() -> None:
    learner = tiny("maml", inner_steps=4, inner_rate=0.2)
    batch = doubles(collate([numbers(np.random.default_rng(i)) for i in range(3)]))
    found = learner.query_losses(batch)
    for t in range(3):
        network = learner.module.network
        weights = {name: p.detach().clone().requires_grad_() for name, p in network.named_parameters()}
        for _ in range(4):
            outputs = torch.func.functional_call(network, weights, (batch.support[t],))
            each = torch.nn.functional.cross_entropy(outputs, batch.support_labels[t], reduction="none")
            slopes = torch.autograd.grad((batch.support_weights[t] * each).sum(), list(weights.values()))
            weights = {
                name: (value - 0.2 * slope).detach().requires_grad_()
                for (name, value), slope in zip(weights.items(), slopes, strict=True)
            }
        outputs = torch.func.functional_call(network, weights, (batch.queries[t],))
        each = torch.nn.functional.cross_entropy(outputs, batch.query_labels[t], reduction="none")
        assert float((batch.query_weights[t] * each).sum().detach()) == pytest.approx(
            float(found[t].detach()), abs=1e-6
        )


@pytest.mark.parametrize("name", LEARNERS)
def test_padding_says_nothing(name: str) -> None:
    learner = make_learner(name)
    assert isinstance(learner, TorchLearner)
    small = learner.encode(Shifted(columns=(3, 4), n_queries=5).draw(np.random.default_rng(0)))[0]
    large = learner.encode(Shifted(columns=(6, 7), n_reference=60, k_shot=9).draw(np.random.default_rng(1)))[0]
    alone, beside = collate([small]), collate([small, large])
    with torch.no_grad():
        torch.testing.assert_close(
            learner.query_losses(alone)[0], learner.query_losses(beside)[0], atol=2e-5, rtol=2e-4
        )


def test_ridge_head_solves_the_weighted_normal_equations_in_both_forms() -> None:
    learner = make_learner("ridge-head", network=torch.nn.Identity(), rows="plain")
    assert isinstance(learner, TorchLearner)
    rng = np.random.default_rng(3)
    for n in (3, 40):  # fewer rows than features: the Woodbury form
        task = numbers(rng, n=n, d=8)
        batch = collate([task])
        found = learner.adapt_batch(batch)[0].detach().numpy()
        x = np.column_stack([task.support, np.ones(n)]).astype(np.float64)
        y = np.eye(2)[task.support_labels]
        w = np.diag(batch.support_weights[0].numpy().astype(np.float64) * n)
        expected = np.linalg.solve(x.T @ w @ x + 0.1 * np.eye(9), x.T @ w @ y)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_prototypes_are_class_means() -> None:
    learner = make_learner("prototypical", network=torch.nn.Identity(), rows="plain")
    assert isinstance(learner, TorchLearner)
    task = numbers(np.random.default_rng(4))
    prototypes, there = learner.adapt_batch(collate([task]))
    for label in (0, 1):
        mean = task.support[task.support_labels == label].mean(0)
        np.testing.assert_allclose(prototypes[0, label].numpy(), mean, atol=1e-6)
    assert there.all()
    outputs = learner.outputs((prototypes, there), torch.from_numpy(task.queries)[None], 2)[0].detach().numpy()
    distance = ((task.queries[:, None] - prototypes[0].numpy()) ** 2).sum(-1)
    np.testing.assert_allclose(outputs, -distance, atol=1e-5)
