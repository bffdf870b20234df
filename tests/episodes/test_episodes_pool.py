"""Pools of unlabelled records: of the same site, never shown or asked, refused where none is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from kshot.episodes import (
    BENIGN,
    Episode,
    EpisodeError,
    LabelledTable,
    TaskShape,
    draw_episode,
    labelled_table,
    with_pool,
)
from kshot.episodes.splits import Split

SHAPE = TaskShape(k_shot=3, n_reference=100, n_benign_queries=400, n_family_queries=30, least_benign_rows=500)


def made(n_benign: int = 1500, groups: int = 0) -> LabelledTable:
    labels = [BENIGN] * n_benign + ["worm"] * 200 + ["scan"] * 200
    order = np.random.default_rng(0).permutation(len(labels))
    features = pl.DataFrame({"row": np.arange(len(labels)), "value": order % 7})
    told = [labels[i] for i in order]
    names = [f"host-{i * groups // len(labels)}" for i in range(len(labels))] if groups else None
    return labelled_table("site", "lab", features, told, names)


def pooled(table: LabelledTable, split: Split, seed: int = 0, n_rows: int = 400) -> tuple[Episode, list[int]]:
    episode = draw_episode(table, ["worm"], replace(SHAPE, split=split), np.random.default_rng(seed))
    out = with_pool(episode, table, np.random.default_rng(seed), n_rows)
    assert out.pool is not None and episode.pool is None
    return out, out.pool["row"].to_list()


@pytest.mark.parametrize("split", ["iid", "blocked"])
@pytest.mark.parametrize("groups", [0, 40])
def test_no_row_or_group_of_the_pool_is_asked_or_shown(split: Split, groups: int) -> None:
    table = made(groups=groups)
    for seed in range(3):
        episode, rows = pooled(table, split, seed)
        used = np.concatenate([episode.reference_rows, episode.shot_rows, episode.query_rows])
        assert not set(rows) & set(used.tolist()) and len(set(rows)) == len(rows)
        attacks = (table.labels[rows] != BENIGN).mean()
        assert len(rows) > 100 and 0.0 < attacks <= 0.11
        if table.groups is not None:
            assert not set(table.groups[rows]) & set(table.groups[episode.query_rows])


def test_a_blocked_pool_was_recorded_before_what_is_asked() -> None:
    table = made()
    episode, rows = pooled(table, "blocked")
    for label in (BENIGN, "worm"):
        own = table.rows_of(label)
        assert set(rows) & set(own.tolist()) <= set(own[: len(own) // 2].tolist())
        assert min(set(episode.query_rows.tolist()) & set(own.tolist())) > max(set(rows) & set(own.tolist()))


def test_the_same_seed_draws_the_same_pool() -> None:
    assert pooled(made(), "iid", 3)[1] == pooled(made(), "iid", 3)[1] != pooled(made(), "iid", 4)[1]


def test_a_row_with_the_cells_of_a_query_is_not_in_the_pool() -> None:
    labels = [BENIGN] * 1500 + ["worm"] * 1500
    # Each worm has the cells of a benign row: whatever is asked has its double on the other side.
    table = labelled_table("site", "lab", pl.DataFrame({"row": np.arange(3000) % 1500}), labels)
    episode, _ = pooled(table, "iid")
    assert episode.pool is not None and not set(episode.pool["row"]) & set(episode.queries["row"])


def test_a_site_with_too_few_rows_left_says_so() -> None:
    with pytest.raises(EpisodeError, match=r"table site: \d+ benign rows are left for a pool of unlabelled records"):
        pooled(made(n_benign=560), "iid")
