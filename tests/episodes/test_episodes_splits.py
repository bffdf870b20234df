"""Splits by corpus, family and time: nothing held out is seen, order and groups are kept."""

from __future__ import annotations

import numpy as np
import pytest
from episode_tables import make_table

from kshot.episodes import BENIGN, EpisodeError, split_by_corpus, split_by_family, split_by_time


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
