"""Measures against cases known by hand, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kshot.bench import measures
from kshot.episodes import UNKNOWN


def drawn(seed: int, levels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.r_[np.ones(12, bool), np.zeros(80, bool)]
    return truth, rng.integers(levels, size=92).astype(float) + truth


def test_a_perfect_ranking() -> None:
    truth = np.array([True] * 5 + [False] * 200)
    scores = np.r_[np.full(5, 9.0), np.arange(200.0) / 100.0]
    told = measures.ranking(truth, scores)
    assert told == {"auroc": 1.0, "average_precision": 1.0, "recall_at_1pct": 1.0, "recall_at_01pct": None}
    assert measures.precision_curve(measures.roc(truth, scores)) == [1.0] * 20


def test_ties_count_by_expectation() -> None:
    truth = np.array([True] * 10 + [False] * 1000)
    curve = measures.roc(truth, np.zeros(1010))
    assert measures.recall_at(curve, 0.01) == pytest.approx(0.01)
    assert measures.false_positives_at(curve, 0.5) == pytest.approx(0.5)


def test_recall_at_a_thousandth_wants_four_thousand_benign() -> None:
    for n_benign, there in ((3999, False), (4000, True)):
        truth = np.r_[np.ones(10, bool), np.zeros(n_benign, bool)]
        scores = np.r_[np.arange(10.0), np.full(n_benign, 4.5)]
        assert (measures.ranking(truth, scores)["recall_at_01pct"] is not None) == there


def test_base_rates_of_a_known_curve() -> None:
    # Half of the attacks stand above all but 2 of 1,000 benign rows.
    truth = np.r_[np.ones(10, bool), np.zeros(1000, bool)]
    scores = np.r_[np.full(5, 3.0), np.full(5, -1.0), np.full(2, 4.0), np.zeros(998)]
    told = measures.base_rates(measures.roc(truth, scores), 1000)
    assert told["false_alerts_a_day"] == pytest.approx(2000.0)
    assert told["precision_at_1_in_1000"] == pytest.approx(0.5 / (0.5 + 999 * 0.002))
    none_seen = measures.base_rates(measures.roc(truth, np.r_[np.full(10, 3.0), np.zeros(1000)]), 1000)
    assert none_seen["false_alerts_a_day"] == pytest.approx(1e6 / 1001)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 50]))
def test_the_two_readings_of_a_curve_agree(seed: int, levels: int) -> None:
    truth, scores = drawn(seed, levels)
    curve = measures.roc(truth, scores)
    for recall in (0.05, 0.3, 0.5, 0.95, 1.0):
        rate = measures.false_positives_at(curve, recall)
        assert measures.recall_at(curve, rate) >= recall - 1e-9
        assert rate == 0.0 or measures.recall_at(curve, rate - 1e-6) < recall


@given(st.integers(0, 2**32 - 1))
def test_only_the_order_of_scores_counts(seed: int) -> None:
    truth, scores = drawn(seed, 9)
    assert measures.ranking(truth, scores) == measures.ranking(truth, np.exp(scores / 3.0) - 7.0)


def test_macro_f1_of_known_answers() -> None:
    truth = np.array([0, 0, 1, 1, 2, UNKNOWN])
    assert measures.macro_f1(truth, truth) == 1.0
    told = np.array([0, 0, 1, 0, 2, 0])
    # benign 2*2/(2+4), first 2*1/(2+1), second 1, unknown never told 0
    assert measures.macro_f1(truth, told) == pytest.approx((2 / 3 + 2 / 3 + 1 + 0) / 4)


def test_oscr_is_one_for_what_is_right_and_rejects_strangers() -> None:
    known, unknown = np.array([3.0, 2.0, 2.5, 4.0]), np.array([1.0, 0.5])
    right = np.array([True, True, True, True])
    assert measures.oscr(known, right, unknown) == pytest.approx(1.0)
    assert measures.oscr(known, np.array([True, True, False, False]), unknown) == pytest.approx(0.5)
    assert measures.oscr(unknown, np.array([True, True]), known) == pytest.approx(0.0)
