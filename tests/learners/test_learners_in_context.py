"""In-context learning: the sharp loss, and what a query may and may not depend on."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is the [train] extra")

from kshot.learners.in_context import SHARP_ENDS, InContext, sharp_loss  # noqa: E402
from kshot.learners.reading import LearnerInputError  # noqa: E402


def loss(threats: list[float], benign: list[float]) -> float:
    score = torch.tensor([[*threats, *benign, 99.0]])
    is_threat = torch.tensor([[True] * len(threats) + [False] * len(benign) + [False]])
    is_benign = torch.tensor([[False] * len(threats) + [True] * len(benign) + [False]])
    return float(sharp_loss(score, is_threat, is_benign)[0])


def test_the_loss_is_that_of_its_definition() -> None:
    benign = [float(v) for v in np.linspace(-2.0, 2.0, 100)]
    outranks = 1.0 / (1.0 + np.exp(0.5 - np.sort(benign)[::-1]))
    wanted = sum(weight * outranks[: round(share * 100)].mean() for share, weight in SHARP_ENDS)
    assert loss([0.5], benign) == pytest.approx(wanted, rel=1e-5)


def test_the_loss_is_bounded_and_blind_to_rows_that_are_neither() -> None:
    most = sum(weight for _, weight in SHARP_ENDS)
    assert loss([50.0, 60.0], [0.0, 1.0]) == pytest.approx(0.0, abs=1e-6)
    assert loss([-50.0], [0.0] * 10) == pytest.approx(most, rel=1e-6)
    assert loss([], [0.0]) == 0.0 and loss([1.0], []) == 0.0


def test_a_benign_row_at_the_top_costs_more_than_one_below() -> None:
    benign = [float(v) for v in np.linspace(-8.0, -4.0, 99)]
    assert loss([0.0], [3.0, *benign]) > loss([0.0], [-3.0, *benign]) + 0.3


def test_one_pass_reads_any_number_of_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    learner = InContext()
    for d, n, k in ((2, 20, 1), (7, 300, 3), (60, 90, 12)):
        reference, shots = rng.normal(size=(n, d)), rng.normal(2.0, 1.0, (k, d))
        queries = rng.normal(size=(9, d))
        adapted = learner.adapt(reference, shots)
        together = adapted.score(queries)
        alone = np.concatenate([adapted.score(queries[i : i + 1]) for i in range(9)])
        assert np.isfinite(together).all()
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_plain_rows_are_refused() -> None:
    with pytest.raises(LearnerInputError, match="relative"):
        InContext(rows="plain")
