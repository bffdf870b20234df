"""The benchmark's episodes: the same for a seed, told when skipped, and those of the reference implementation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from episode_tables import SHARED, make_table, reference_implementation

from kshot.episodes import (
    BENIGN,
    HEADLINE,
    EpisodeError,
    Skipped,
    TaskShape,
    headline_episodes,
    labelled_table,
    n_way_episodes,
    reference_table,
)


def raw_table() -> tuple[pl.DataFrame, np.ndarray]:
    """A table with duplicates, a label that is neither, columns that are never features, and a large family."""
    rng = np.random.default_rng(3)
    n = 15_000
    label = rng.choice(["BENIGN", "DoS Hulk", "aworm", "Zed", "?", "rare"], n, p=[0.45, 0.42, 0.08, 0.04, 0.009, 0.001])
    frame = pl.DataFrame(
        {
            "Src IP": rng.choice(["10.0.0.1", "10.0.0.2"], n),
            "bytes": rng.integers(0, 9000, n),
            "rate": rng.normal(size=n).round(2),
            "proto": pl.Series(rng.integers(0, 3, n)).replace_strict({0: "tcp", 1: "udp"}, default=None),
            "Timestamp": np.arange(n),
        }
    )
    return frame, label


@pytest.mark.shared
@pytest.mark.parametrize("split", ["iid", "blocked"])
@pytest.mark.parametrize("k_shot", [0, 1, 5])
def test_a_made_table_gives_the_reference_implementations_episodes(split, k_shot: int, tmp_path) -> None:
    script = reference_implementation()
    frame, label = raw_table()
    frame.with_columns(pl.Series("kind", label.tolist())).write_parquet(tmp_path / "made.parquet")
    tables = script.load(tmp_path, {"made": ("kind", "BENIGN", "lab")}, cap=6000)
    told = np.where(label == "BENIGN", BENIGN, label)
    ours = reference_table("made", "lab", frame, told)
    same(script, tables, [ours], split, k_shot, repetitions=2)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["net_nsl_kdd_test", "malware_clamp_raw", "android_cicmaldroid99", "dns_dot_tunnel"])
def test_a_real_table_gives_the_reference_implementations_episodes(name: str) -> None:
    script = reference_implementation()
    folder = SHARED / "data/tables"
    if not folder.exists():
        pytest.skip("needs shared/data beside the checkout")
    column, benign, corpus = script.DEV[name]
    frame = pl.read_parquet(folder / f"{name}.parquet")
    labels = frame[column].cast(pl.String).fill_null("?").str.strip_chars().to_numpy()
    ours = reference_table(name, corpus, frame.drop(column), np.where(labels == benign, BENIGN, labels))
    same(script, script.load(folder, {name: script.DEV[name]}), [ours], "blocked", 5, repetitions=1)


def same(script, tables: dict, ours: list, split: str, k_shot: int, repetitions: int) -> None:
    """Row for row: names, repetitions, frames and labels."""
    shape = replace(HEADLINE, k_shot=k_shot, split=split)
    expected = list(script.episodes(tables, k_shot, repetitions, split))
    episodes = list(headline_episodes(ours, shape, repetitions))
    assert len(episodes) == len(expected) > 0
    for episode, (table, corpus, family, rep, support, told, queries, truth) in zip(episodes, expected, strict=True):
        assert (episode.table, episode.corpus, episode.family, episode.repetition) == (table, corpus, family, rep)
        assert episode.support.equals(support)
        assert episode.support_labels.tolist() == told.tolist()
        assert episode.queries.equals(queries)
        assert episode.query_labels.tolist() == truth.tolist()


def test_reference_tables_drop_what_the_protocol_drops() -> None:
    frame, label = raw_table()
    table = reference_table("made", "lab", frame, np.where(label == "BENIGN", BENIGN, label))
    assert table.features.columns == ["bytes", "rate", "proto"]
    assert "?" not in table.families and len(table.rows_of("DoS Hulk")) == 6000
    assert table.features.with_columns(pl.Series("label", table.labels.tolist())).is_duplicated().sum() == 0


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
