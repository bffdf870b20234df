"""Episodes: nothing on both sides, groups whole, the shape as asked, and what cannot be drawn refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from episode_tables import make_table
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.episodes import (
    UNKNOWN,
    EpisodeError,
    LeakError,
    TaskShape,
    check_table,
    draw_episode,
    labelled_table,
    usable_families,
)
from kshot.episodes.leaks import refuse_leaks

SMALL = TaskShape(n_reference=40, n_benign_queries=60, n_family_queries=20, least_family_rows=20, least_benign_rows=200)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    n_way=st.integers(1, 3),
    n_unknown=st.integers(0, 2),
    k_shot=st.integers(1, 5),
    split=st.sampled_from(["iid", "blocked"]),
    groups=st.sampled_from([0, 7, 60]),
)
def test_no_row_and_no_group_crosses(seed: int, n_way: int, n_unknown: int, k_shot: int, split, groups: int) -> None:
    table = make_table(benign=400, families={"a": 60, "b": 80, "c": 50, "d": 70, "e": 90}, seed=seed % 5, groups=groups)
    shape = replace(SMALL, n_way=n_way, n_unknown=n_unknown, k_shot=k_shot, split=split)
    rng = np.random.default_rng(seed)
    names = [table.families[i] for i in rng.permutation(5)]
    episode = draw_episode(table, names[:n_way], shape, rng, names[n_way : n_way + n_unknown])
    shown = pl.concat([episode.reference, episode.shots])["row_id"].to_list()
    asked = episode.queries["row_id"].to_list()
    assert len(set(shown)) == len(shown) and not set(shown) & set(asked)
    if groups:
        assert table.groups is not None
        assert not {table.groups[r] for r in shown} & {table.groups[r] for r in asked}
    assert episode.reference.height == 40 and episode.shots.height == n_way * k_shot
    assert np.bincount(episode.shot_labels, minlength=n_way + 1).tolist() == [0] + [k_shot] * n_way
    for row, label, family in zip(asked, episode.query_labels, episode.query_families, strict=True):
        assert table.labels[row] == family
        told = 0 if family == "benign" else UNKNOWN if family in names[n_way:] else names.index(family) + 1
        assert label == told
    assert episode.loss == ("binary" if n_way == 1 and not n_unknown else "multiclass")
    assert episode.support.height == len(episode.support_labels) == 40 + n_way * k_shot


def test_without_shots_the_family_is_still_asked() -> None:
    episode = draw_episode(make_table(), ["worm"], replace(SMALL, k_shot=0), np.random.default_rng(0))
    assert episode.shots.height == 0 and episode.shots.columns == episode.queries.columns
    assert episode.threat_queries.sum() == 20


def test_a_table_without_benign_rows_gives_plain_tasks() -> None:
    table = make_table(benign=0, families={"a": 40, "b": 40})
    shape = replace(SMALL, n_way=2, n_reference=0, n_benign_queries=0)
    episode = draw_episode(table, check_table(table, shape), shape, np.random.default_rng(0))
    assert episode.reference.height == 0 and set(episode.query_labels) == {1, 2}


def test_blocked_shows_the_first_half_and_asks_the_last_two_fifths() -> None:
    table = make_table()
    episode = draw_episode(table, ["worm"], replace(SMALL, split="blocked"), np.random.default_rng(1))
    worms, benign = table.rows_of("worm").tolist(), table.rows_of("benign").tolist()
    assert max(worms.index(r) for r in episode.shot_rows) < 60
    assert max(benign.index(r) for r in episode.reference_rows) < 800
    assert min(worms.index(r) for r in episode.query_rows if r in worms) >= 72
    assert min(benign.index(r) for r in episode.query_rows if r in benign) >= 960


def test_the_same_seed_draws_the_same_episode() -> None:
    table = make_table(groups=11)
    first, second = (draw_episode(table, ["worm"], SMALL, np.random.default_rng(5)) for _ in range(2))
    assert first.queries.equals(second.queries) and first.shots.equals(second.shots)
    assert not first.queries.equals(draw_episode(table, ["worm"], SMALL, np.random.default_rng(6)).queries)


def test_two_groups_are_enough_and_one_is_not() -> None:
    frame = pl.DataFrame({"x": range(600)})
    labels = ["benign"] * 500 + ["worm"] * 100
    two = labelled_table("t", "c", frame, labels, [f"day-{i % 2}" for i in range(600)])
    draw_episode(two, ["worm"], SMALL, np.random.default_rng(0))
    one = labelled_table("t", "c", frame, labels, ["day"] * 500 + ["burst"] * 100)
    assert usable_families(one, SMALL) == ((), {"worm": "lies in one group (burst), which cannot be shown and asked"})
    with pytest.raises(EpisodeError, match=r"table t: 0 usable families.*lies in one group \(burst\)"):
        check_table(one, SMALL)
    with pytest.raises(EpisodeError, match="its rows lie in 1 groups, kept whole"):
        draw_episode(one, ["worm"], SMALL, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("families", "shape", "message"),
    [
        (["worm", "scan"], SMALL, "2 families and 0 unknown ones given for a task of 1 and 0"),
        (["moth"], SMALL, "has no family moth; it has scan, worm"),
        (["worm", "worm"], replace(SMALL, n_way=2), "named twice"),
        (["worm", "scan"], replace(SMALL, n_way=2, k_shot=0), "K = 0 is for one"),
        (["worm"], replace(SMALL, k_shot=61), "60 rows to show and 60 to ask under the iid split, 61 and 1 are needed"),
        (["worm"], replace(SMALL, n_reference=1700), "1600 benign rows to show and 0 to ask"),
    ],
)
def test_what_cannot_be_drawn_is_refused(families: list[str], shape: TaskShape, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        draw_episode(make_table(), families, shape, np.random.default_rng(0))


def test_too_few_rows_are_told() -> None:
    with pytest.raises(EpisodeError, match="1,600 benign rows, 2,000 are needed"):
        check_table(make_table(), replace(SMALL, least_benign_rows=2000))
    with pytest.raises(EpisodeError, match="scan has 90 rows, 100 are needed"):
        check_table(make_table(), replace(SMALL, least_family_rows=100, n_way=2))


def test_leaks_are_refused_and_named() -> None:
    table = make_table(groups=9)
    episode = draw_episode(table, ["worm"], SMALL, np.random.default_rng(0))
    refuse_leaks(episode, table)
    with pytest.raises(LeakError, match=r"row \d+ is shown and asked"):
        refuse_leaks(replace(episode, query_rows=episode.reference_rows), table)
    with pytest.raises(LeakError, match="a row is shown twice"):
        refuse_leaks(replace(episode, shot_rows=episode.reference_rows), table)
    neighbour = episode.reference_rows[:1] + 9  # the next row of the same group
    with pytest.raises(LeakError, match=r"group host-\d is shown and asked"):
        refuse_leaks(replace(episode, query_rows=neighbour[~np.isin(neighbour, episode.shot_rows)]), table)


@pytest.mark.parametrize("split", ["iid", "blocked"])
def test_noise_is_put_in_and_told_and_never_asked(split) -> None:
    table = make_table()
    shape = replace(SMALL, n_wrong_shots=1, hidden_share=0.05, split=split)
    episode = draw_episode(table, ["worm"], shape, np.random.default_rng(2))
    assert (episode.wrong_shots, episode.hidden_attacks) == (1, 2)
    assert sorted(table.labels[episode.shot_rows]) == ["benign"] + ["worm"] * 4
    assert episode.shot_labels.tolist() == [1] * 5
    assert (table.labels[episode.reference_rows] == "worm").sum() == 2 and episode.reference.height == 40
    shown = [*episode.reference["row_id"], *episode.shots["row_id"]]
    assert len(set(shown)) == 45 and not set(shown) & set(episode.queries["row_id"])


def test_noise_that_the_table_cannot_give_is_refused() -> None:
    with pytest.raises(EpisodeError, match="55 attack rows are left to be mislabelled"):
        draw_episode(
            make_table(), ["worm"], replace(SMALL, n_reference=400, hidden_share=0.5), np.random.default_rng(0)
        )
    with pytest.raises(EpisodeError, match="no more than the shots"):
        draw_episode(make_table(), ["worm"], replace(SMALL, n_wrong_shots=6), np.random.default_rng(0))


def test_only_the_columns_asked_for_are_there() -> None:
    episode = draw_episode(make_table(), ["worm"], SMALL, np.random.default_rng(0), columns=["flag", "size"])
    whole = draw_episode(make_table(), ["worm"], SMALL, np.random.default_rng(0))
    assert episode.queries.equals(whole.queries.select("flag", "size")) and episode.shots.columns == ["flag", "size"]
