"""Ranks over tables against figures worked out in the literature, and by hand."""

from __future__ import annotations

import math

import polars as pl
import pytest

from kshot.bench.ranks import paired_p, rank_learners


def rows_of(table: dict[str, list[float]]) -> pl.DataFrame:
    """Learner -> value on each table."""
    return pl.DataFrame(
        [
            {"data": f"t{i}", "family": "f", "learner": name, "auroc": value}
            for name, values in table.items()
            for i, value in enumerate(values)
        ]
    )


def test_the_example_of_demsar() -> None:
    # Table 6 of Demšar (2006): AUC of C4.5 and three variants on 14 data sets.
    table = {
        "c45": [.763, .599, .954, .628, .882, .936, .661, .583, .775, 1.0, .940, .619, .972, .957],
        "m": [.768, .591, .971, .661, .888, .931, .668, .583, .838, 1.0, .962, .666, .981, .978],
        "cf": [.771, .590, .968, .654, .886, .916, .609, .563, .866, 1.0, .965, .614, .9751, .946],
        "both": [.798, .569, .967, .657, .898, .931, .685, .625, .875, 1.0, .962, .669, .975, .970],
    }  # fmt: skip
    told = rank_learners(rows_of(table), "auroc")
    assert dict(zip(told.learners, told.ranks, strict=True)) == pytest.approx(
        {"c45": 3.143, "m": 2.000, "cf": 2.893, "both": 1.964}, abs=1e-3
    )
    # The paper's statistic is 9.28, p = 0.026; corrected for the ties of the best cells it is 10.2.
    assert told.n_tables == 14 and told.p_value == pytest.approx(0.0167, abs=1e-4)
    assert told.critical_difference == pytest.approx(1.25, abs=5e-3)


def test_ties_share_their_ranks_and_nothing_is_told_of_one_table() -> None:
    told = rank_learners(rows_of({"a": [0.5], "b": [0.5], "c": [0.1]}), "auroc")
    assert told.ranks == (1.5, 1.5, 3.0)
    assert math.isnan(told.p_value) and math.isnan(told.critical_difference)
    same = rank_learners(rows_of({"a": [0.5, 0.5], "b": [0.5, 0.5], "c": [0.5, 0.5]}), "auroc")
    assert same.ranks == (2.0, 2.0, 2.0) and math.isnan(same.p_value)


def test_who_is_told_apart_from_the_best() -> None:
    table = {"best": [0.9] * 20, "near": [0.8] * 20, "far": [0.1] * 20}
    told = rank_learners(rows_of(table), "auroc")
    assert told.critical_difference < 1.0 and told.as_good_as(0) == ()
    few = rank_learners(rows_of({name: values[:3] for name, values in table.items()}), "auroc")
    assert few.as_good_as(0) == ("near",)


def test_two_learners_over_tables() -> None:
    # Six tables, all better by different amounts: the least p of six signs, 2 / 2**6.
    ahead = rows_of({"a": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "b": [0.2, 0.4, 0.6, 0.8, 1.0, 1.2]})
    assert paired_p(ahead, "auroc", "a", "b") == pytest.approx(2 / 2**6)
    assert math.isnan(paired_p(rows_of({"a": [0.5, 0.5], "b": [0.5, 0.5]}), "auroc", "a", "b"))
