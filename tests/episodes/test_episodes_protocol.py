"""The benchmark's episodes: the same for a seed, and those of the reference implementation."""

from __future__ import annotations

import polars as pl
import pytest
from episode_tables import make_table

from kshot.episodes import (
    EpisodeError,
    Skipped,
    TaskShape,
    headline_episodes,
    labelled_table,
    n_way_episodes,
)


def test_more_tables_and_repetitions_leave_an_episode_as_it_was() -> None:
    one, other = make_table("one"), make_table("other", seed=4)
    few = list(headline_episodes([one], repetitions=1))
    many = list(headline_episodes([other, one], repetitions=3))
    again = [e for e in many if e.table == "one" and e.repetition == 0]
    assert [e.family for e in few] == ["scan", "worm"]
    for first, second in zip(few, again, strict=True):
        assert first.queries.equals(second.queries) and first.seed == second.seed


def test_what_is_left_out_is_told() -> None:
    skipped: list[Skipped] = []
    tables = [make_table("small", benign=300), make_table("large", families={"worm": 90, "moth": 12})]
    episodes = list(headline_episodes(tables, repetitions=2, skipped=skipped))
    assert [(e.table, e.family) for e in episodes] == [("large", "worm")] * 2
    assert [(s.table, s.family) for s in skipped] == [("small", ""), ("large", "moth")]
    assert "300 benign rows" in skipped[0].reason and "12 rows" in skipped[1].reason


def test_groups_that_cannot_be_divided_are_told_not_cut() -> None:
    frame = pl.DataFrame({"x": range(1800)})
    labels = ["benign"] * 1600 + ["worm"] * 200
    groups = ["monday"] * 1600 + ["monday"] * 100 + ["tuesday"] * 100
    skipped: list[Skipped] = []
    assert not list(headline_episodes([labelled_table("t", "c", frame, labels, groups)], skipped=skipped))
    assert "0 to ask" in skipped[0].reason or "0 benign rows to show" in skipped[0].reason


def test_groups_that_fall_badly_by_chance_are_drawn_again() -> None:
    frame = pl.DataFrame({"x": range(2200)})
    labels = ["benign"] * 2000 + ["worm"] * 200
    groups = [f"day-{i % 4}" if i < 1900 else "night" for i in range(2000)]
    groups += ["night"] * 8 + [f"raid-{i % 3}" for i in range(192)]
    table = labelled_table("t", "c", frame, labels, groups)
    episodes = list(headline_episodes([table], TaskShape(k_shot=20), repetitions=8))
    assert [e.repetition for e in episodes] == list(range(8))


def test_n_way_episodes_hold_unknown_families() -> None:
    table = make_table(families={"a": 60, "b": 60, "c": 60, "d": 60})
    shape = TaskShape(n_way=2, n_unknown=2, k_shot=3)
    episodes = list(n_way_episodes([table, make_table("few")], shape, repetitions=3))
    assert len(episodes) == 3 and {e.table for e in episodes} == {"desk"}
    assert {len(set(e.query_families)) for e in episodes} == {5}
    assert len({e.families for e in episodes}) > 1


def test_the_headline_is_of_one_family() -> None:
    with pytest.raises(EpisodeError, match="shows one family"):
        next(headline_episodes([make_table()], TaskShape(n_way=2)))
