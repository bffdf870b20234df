"""Training samplers: every corpus has its turn, one corpus stays alone, pseudo-threats are compact."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import polars as pl
import pytest
from episode_tables import make_table

from kshot.episodes import (
    BENIGN,
    EpisodeError,
    EpisodeSampler,
    LabelledTable,
    PseudoThreats,
    TaskShape,
    labelled_table,
    sinusoid_episode,
    split_by_corpus,
    split_by_family,
    split_by_time,
)

SHAPE = TaskShape(n_reference=50, n_benign_queries=40, n_family_queries=20, least_family_rows=20, least_benign_rows=200)


def unlabelled(rows: int = 900) -> LabelledTable:
    rng = np.random.default_rng(8)
    frame = pl.DataFrame(
        {
            "price": rng.gamma(2.0, size=rows),
            "count": rng.poisson(3.0, rows),
            "shop": rng.choice(["a", "b", "c"], rows),
            "constant": np.ones(rows),
            "text": [f"item {i} " + "x" * int(n) for i, n in enumerate(rng.integers(0, 30, rows))],
        }
    )
    return labelled_table("till", "shop", frame, [BENIGN] * rows)


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


def test_a_pseudo_threat_is_a_compact_corner() -> None:
    source = PseudoThreats(unlabelled())
    rng = np.random.default_rng(1)
    for _ in range(30):
        rows = source.slice_rows(rng, 20)
        assert 20 <= len(rows) <= 180
        spread = [np.ptp(source.table.features[c].rank().to_numpy()[rows]) / 900 for c in ("price", "count")] + [
            source.table.features["shop"][rows].n_unique() / 3
        ]
        assert min(spread) < 0.99, "a slice is narrow in at least one of its columns"
    table = source.draw(rng, 20)
    assert table.families == ("pseudo-threat",) and len(table.rows_of(BENIGN)) > 700


def test_pseudo_threats_of_a_labelled_table_are_cut_from_its_benign_rows() -> None:
    assert set(PseudoThreats(make_table()).table.labels) == {BENIGN}


def test_a_table_too_plain_for_pseudo_threats_is_refused() -> None:
    plain = labelled_table("plain", "c", pl.DataFrame({"x": [0, 1]}), [BENIGN] * 2)
    with pytest.raises(EpisodeError, match="table plain: no slice of 5 to 0 of its 2 rows"):
        PseudoThreats(plain).slice_rows(np.random.default_rng(0), 5)


def test_held_out_corpora_and_families_are_never_seen() -> None:
    tables = [make_table("a", "alpha"), make_table("b", "beta"), make_table("a2", "alpha", seed=2)]
    seen, unseen = split_by_corpus(tables, {"alpha"})
    assert [t.name for t in seen] == ["b"] and [t.name for t in unseen] == ["a", "a2"]
    seen, unseen = split_by_family(tables, 0.5, np.random.default_rng(0))
    for corpus in ("alpha", "beta"):
        shown = {f for t in seen if t.corpus == corpus for f in t.families}
        held = {f for t in unseen if t.corpus == corpus for f in t.families}
        assert shown and held and not shown & held and shown | held == {"worm", "scan"}
    with pytest.raises(EpisodeError, match="no table is of corpus gamma"):
        split_by_corpus(tables, {"gamma"})
    with pytest.raises(EpisodeError, match="leaves one side without tables"):
        split_by_corpus(tables, {"alpha", "beta"})
    with pytest.raises(EpisodeError, match="has 1 families"):
        split_by_family([make_table(families={"worm": 50})], 0.5, np.random.default_rng(0))


@pytest.mark.parametrize("groups", [0, 13])
def test_a_split_by_time_keeps_order_and_groups(groups: int) -> None:
    table = make_table(groups=groups)
    first, second = split_by_time(table, 0.6)
    assert len(first) + len(second) == len(table)
    if groups:
        assert first.groups is not None and second.groups is not None
        assert not set(first.groups) & set(second.groups)
    else:
        for label in (BENIGN, *table.families):
            assert first.features["row_id"].to_numpy()[first.rows_of(label)].max() < (
                second.features["row_id"].to_numpy()[second.rows_of(label)].min()
            )
    with pytest.raises(EpisodeError, match="leaves one side empty"):
        split_by_time(table, 1.0)


def test_sinusoids_are_as_in_the_paper() -> None:
    episode = sinusoid_episode(np.random.default_rng(0), 10, 50)
    assert (episode.loss, episode.shots.height, episode.queries.height) == ("squared-error", 10, 50)
    x = np.concatenate([episode.shots["x"], episode.queries["x"]])
    y = np.concatenate([episode.shot_labels, episode.query_labels])
    design = np.column_stack([np.sin(x), np.cos(x)])
    (a, b), residual, *_ = np.linalg.lstsq(design, y, rcond=None)
    assert residual < 1e-20 and 0.1 <= np.hypot(a, b) <= 5.0 and a * 0 + b <= 1e-12
