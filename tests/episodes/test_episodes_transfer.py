"""Site change: shots of one table, reference and queries of another, nothing of one in the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from episode_tables import make_table

from kshot.episodes import EpisodeError, LabelledTable, TaskShape, labelled_table, shared_families, transfer_episode

SHAPE = TaskShape(k_shot=5, n_reference=50, n_benign_queries=60, n_family_queries=30, least_benign_rows=100)


def test_shots_are_the_sources_and_the_rest_the_targets() -> None:
    source, target = make_table("a", seed=1), make_table("b", families={"worm": 60, "moth": 50}, seed=2)
    assert shared_families(source, target, 40) == ("worm",)
    assert shared_families(source, target, 100) == ()
    episode = transfer_episode(source, target, "worm", SHAPE, np.random.default_rng(0), repetition=3)
    assert episode.shots.equals(source.features[episode.shot_rows])
    assert set(source.labels[episode.shot_rows]) == {"worm"}
    assert episode.reference.equals(target.features[episode.reference_rows])
    assert episode.queries.equals(target.features[episode.query_rows])
    assert (episode.k_shot, episode.repetition, episode.table) == (5, 3, "a -> b")
    assert episode.query_labels.sum() == 30 and episode.shot_labels.tolist() == [1] * 5


def test_only_shared_columns_of_one_kind_are_kept() -> None:
    source, target = make_table("a", seed=1), make_table("b", seed=2)
    features = source.features.with_columns(flag=pl.lit("yes"), size=pl.col("size").round()).rename({"service": "app"})
    features = features.with_columns(pl.col("row_id") + 0.5)
    episode = transfer_episode(replace(source, features=features), target, "worm", SHAPE, np.random.default_rng(0))
    assert episode.queries.columns == episode.shots.columns == episode.reference.columns == ["row_id", "size", "rate"]
    assert episode.queries.schema == episode.shots.schema == episode.reference.schema
    assert (episode.shots["row_id"] % 1 == 0.5).all()


def test_a_query_that_a_shot_equals_is_left_out() -> None:
    frame = pl.DataFrame({"x": [*range(200), *[7_000 + i // 10 for i in range(60)]], "y": [0] * 200 + [*range(60)]})
    labels = ["benign"] * 200 + ["worm"] * 60
    target = labelled_table("b", "c", frame, labels)
    source = labelled_table("a", "c", frame.drop("y").unique(maintain_order=True), ["benign"] * 200 + ["worm"] * 6)
    shape = replace(SHAPE, k_shot=3, least_family_rows=2)
    episode = transfer_episode(source, target, "worm", shape, np.random.default_rng(0))
    assert not set(episode.queries["x"]) & set(episode.shots["x"])
    assert len(episode.queries) == len(episode.query_labels) == len(episode.query_families) == len(episode.query_rows)


@pytest.mark.parametrize(
    ("source", "family", "message"),
    [
        (make_table("a"), "moth", "tables a and b do not both have family moth"),
        (make_table("a", families={"worm": 6}), "worm", "table a: 3 rows of worm to show, 5 are needed"),
        (labelled_table("a", "c", pl.DataFrame({"q": range(9)}), ["worm"] * 9), "worm", "share no column"),
    ],
)
def test_what_cannot_be_drawn_is_refused(source: LabelledTable, family: str, message: str) -> None:
    with pytest.raises(EpisodeError, match=message):
        transfer_episode(source, make_table("b"), family, SHAPE, np.random.default_rng(0))
