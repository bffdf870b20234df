"""Training samplers: every corpus has its turn, one corpus stays alone, what gives no task is told."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import polars as pl
import pytest
from episode_tables import make_table, unlabelled

from kshot.episodes import (
    EpisodeError,
    EpisodeSampler,
    TaskShape,
    labelled_table,
)

SHAPE = TaskShape(n_reference=50, n_benign_queries=40, n_family_queries=20, least_family_rows=20, least_benign_rows=200)


def test_corpora_have_equal_turns_however_many_tables_they_have() -> None:
    tables = [make_table(f"a{i}", "alpha", benign=250, seed=i) for i in range(3)] + [
        make_table("b", "beta", benign=250)
    ]
    sampler = EpisodeSampler(tables, SHAPE)
    seen = Counter(e.corpus for e in islice(sampler.stream(np.random.default_rng(0)), 300))
    assert 110 < seen["alpha"] < 190 and seen.total() == 300


def test_an_intrinsic_sampler_stays_in_its_corpus() -> None:
    tables = [make_table("a", "alpha"), make_table("b", "beta")]
    sampler = EpisodeSampler(tables, SHAPE, scope="intrinsic", corpus="beta")
    assert {e.table for e in sampler.batch(np.random.default_rng(0), 20)} == {"b"}
    assert EpisodeSampler(tables[:1], SHAPE, scope="intrinsic").draw(np.random.default_rng(0)).corpus == "alpha"
    with pytest.raises(EpisodeError, match="of one corpus; choose from alpha, beta"):
        EpisodeSampler(tables, SHAPE, scope="intrinsic")
    with pytest.raises(EpisodeError, match="no table is of corpus 'gamma'"):
        EpisodeSampler(tables, SHAPE, scope="intrinsic", corpus="gamma")


def test_cross_domain_tasks_have_their_own_columns() -> None:
    sampler = EpisodeSampler([make_table(), unlabelled()], SHAPE, pseudo_share=0.5)
    columns = {tuple(e.queries.columns) for e in sampler.batch(np.random.default_rng(0), 30)}
    assert len(columns) == 2


def test_the_same_generator_state_draws_the_same_tasks() -> None:
    sampler = EpisodeSampler([make_table(), unlabelled()], SHAPE, k_shots=(1, 5), pseudo_share=0.4)
    first, second = (sampler.batch(np.random.default_rng(3), 12) for _ in range(2))
    assert all(a.queries.equals(b.queries) and a.k_shot == b.k_shot for a, b in zip(first, second, strict=True))
    assert {e.k_shot for e in first} == {1, 5}


def test_columns_are_left_out_at_random_the_same_on_both_sides() -> None:
    sampler = EpisodeSampler([make_table()], SHAPE, column_share=(0.3, 0.9))
    episodes = sampler.batch(np.random.default_rng(0), 40)
    assert all(e.queries.columns == e.shots.columns == e.reference.columns for e in episodes)
    assert {len(e.queries.columns) for e in episodes} == {2, 3, 4}


def test_what_gives_no_task_is_told() -> None:
    sampler = EpisodeSampler([make_table("good"), make_table("bare", benign=30)], SHAPE)
    assert [(s.table, s.reason) for s in sampler.skipped] == [("bare", "has 30 benign rows")]
    with pytest.raises(EpisodeError, match="no table can give such a task: bare has 30 benign rows"):
        EpisodeSampler([make_table("bare", benign=30)], SHAPE)
    with pytest.raises(EpisodeError, match="pseudo-threats make tasks of one family"):
        EpisodeSampler([make_table()], replace(SHAPE, n_way=2), pseudo_share=0.5)


def test_groups_that_no_split_divides_end_in_one_line() -> None:
    frame = pl.DataFrame({"x": range(400)})
    labels = ["benign"] * 300 + ["worm"] * 100
    groups = ["one"] * 300 + ["one"] * 50 + ["two"] * 50
    sampler = EpisodeSampler([labelled_table("t", "c", frame, labels, groups)], SHAPE)
    with pytest.raises(EpisodeError, match="kept whole"):
        sampler.draw(np.random.default_rng(0))
