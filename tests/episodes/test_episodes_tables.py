"""Labelled tables: duplicates go, order stays, what does not fit is refused in one line."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from episode_tables import make_table
from hypothesis import given
from hypothesis import strategies as st

from kshot.episodes import BENIGN, EpisodeError, LabelledTable, labelled_table


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["benign", "a", "b"])), min_size=1, max_size=40))
def test_duplicates_are_dropped_and_the_first_of_each_stays_in_order(rows: list[tuple[int, str]]) -> None:
    table = labelled_table("t", "c", pl.DataFrame({"x": [x for x, _ in rows]}), [label for _, label in rows])
    assert list(zip(table.features["x"], table.labels, strict=True)) == list(dict.fromkeys(rows))
    assert table.duplicates_dropped == len(rows) - len(table)


def test_equal_cells_with_another_label_are_no_duplicate_and_missing_cells_are_equal() -> None:
    frame = pl.DataFrame({"x": [None, None, None], "y": [float("nan")] * 3})
    table = labelled_table("t", "c", frame, ["benign", "benign", "worm"])
    assert len(table) == 2


def test_rows_of_a_label_are_found_in_order() -> None:
    table = make_table()
    for label in (BENIGN, *table.families):
        assert table.rows_of(label).tolist() == np.flatnonzero(table.labels == label).tolist()
    assert table.families == ("scan", "worm")
    assert table.rows_of("nothing").tolist() == []


def test_groups_follow_their_rows_and_missing_ones_are_none() -> None:
    frame = pl.DataFrame({"x": [1, 1, 2, 3]})
    table = labelled_table("t", "c", frame, ["benign"] * 4, ["a", "b", None, "a"])
    assert table.groups is not None
    assert [table.group_name(g) if g >= 0 else None for g in table.groups] == ["a", None, "a"]
    assert table.take(np.array([2])).groups.tolist() == [table.groups[2]]


def test_only_keeps_the_benign_rows_and_what_is_named() -> None:
    table = make_table().only(["worm"])
    assert table.families == ("worm",)
    assert len(table) == 1720


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    with pytest.raises(EpisodeError, match="no feature column is left"):
        labelled_table("t", "c", pl.DataFrame(), [])
    with pytest.raises(EpisodeError, match="2 rows and 1 labels"):
        labelled_table("t", "c", pl.DataFrame({"x": [1, 2]}), ["benign"])
    with pytest.raises(EpisodeError, match="2 rows and 3 groups"):
        labelled_table("t", "c", pl.DataFrame({"x": [1, 2]}), ["benign"] * 2, ["a"] * 3)
    with pytest.raises(EpisodeError, match="1 rows and 0 labels"):
        LabelledTable("t", "c", pl.DataFrame({"x": [1]}), np.array([], dtype=object))
