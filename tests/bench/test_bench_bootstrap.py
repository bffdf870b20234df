"""Means over families, tables and corpora; intervals that shrink, cover, and pair."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kshot.bench.bootstrap import Paired
from kshot.bench.results import MEASURES, RESULTS
from kshot.bench.summary import comparable, nested_means, sections_of


def rows_of(values: dict[tuple[str, str, str, int, str], float]) -> pl.DataFrame:
    """(corpus, data, family, seed, learner) -> value."""
    names = ("corpus", "data", "family", "seed", "learner")
    return pl.DataFrame([{**dict(zip(names, key, strict=True)), "auroc": value} for key, value in values.items()])


def test_means_are_over_families_then_tables_then_corpora() -> None:
    values = {
        ("one", "a", "f", 0, "x"): 0.0,
        ("one", "a", "f", 1, "x"): 1.0,
        ("one", "a", "g", 0, "x"): 1.0,
        ("one", "b", "f", 0, "x"): 0.25,
        ("two", "c", "f", 0, "x"): 0.0,
    }
    wanted = (((0.5 + 1.0) / 2 + 0.25) / 2 + 0.0) / 2
    assert Paired(rows_of(values), "auroc", ["x"]).mean("x").value == pytest.approx(wanted)
    nested = nested_means(rows_of(values), ["auroc"], ["learner"])
    assert nested["auroc"].to_list() == [pytest.approx(wanted)]


def test_a_learner_that_is_always_a_tenth_better_is_surely_so() -> None:
    rng = np.random.default_rng(3)
    values = {}
    for corpus in "abcdef":
        for family in "fgh":
            for seed in range(3):
                base = rng.uniform(0.1, 0.9)
                values[corpus, corpus, family, seed, "peer"] = base
                values[corpus, corpus, family, seed, "kshot"] = 1.1 * base
    paired = Paired(rows_of(values), "auroc", ["kshot", "peer"])
    ratio = paired.ratio("kshot", ["peer"])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.1, 1.1, 1.1))
    mean = paired.mean("kshot")
    assert mean.low < mean.value < mean.high and mean.high - mean.low > 0.1


def test_the_denominator_is_the_best_peer() -> None:
    values = {("a", "a", "f", 0, name): value for name, value in (("kshot", 0.6), ("weak", 0.1), ("strong", 0.8))}
    assert Paired(rows_of(values), "auroc", ["kshot", "weak", "strong"]).ratio(
        "kshot", ["weak", "strong"]
    ).value == pytest.approx(0.75)


def test_more_corpora_make_a_narrower_interval() -> None:
    rng = np.random.default_rng(1)

    def width(n: int) -> float:
        values = {(f"c{i}", "t", "f", 0, "x"): float(rng.uniform()) for i in range(n)}
        told = Paired(rows_of(values), "auroc", ["x"]).mean("x")
        return told.high - told.low

    assert width(100) < 0.5 * width(8)


def test_a_metric_that_nobody_has_gives_no_estimate() -> None:
    rows = rows_of({("a", "a", "f", 0, "x"): 0.5}).with_columns(pl.lit(None, pl.Float64).alias("auroc"))
    assert Paired(rows, "auroc", ["x"]).n_episodes == 0


def test_only_episodes_that_all_learners_have_are_compared() -> None:
    values = {("a", "a", "f", seed, name): 0.5 for seed in range(3) for name in ("x", "y")}
    del values["a", "a", "f", 1, "y"]
    rows = rows_of(values).with_columns(pl.lit("iid").alias("split"), pl.lit(1).alias("k"))
    assert sorted(comparable(rows)["seed"].unique().to_list()) == [0, 2]
    whole = rows.with_columns(
        *(pl.lit(0.5).alias(name) for name in RESULTS if name not in rows.columns),
    )
    (means, *_) = sections_of(whole, pl.DataFrame(schema=MEASURES), ["headline"])
    assert means.about.startswith("2 episodes (of 3: those that every learner has), 1 families")
