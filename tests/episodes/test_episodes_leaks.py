"""Leak reports: repeated rows, rows labelled both ways, and the column that tells all."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from episode_tables import make_table
from sklearn.metrics import roc_auc_score

from kshot.episodes import (
    EpisodeError,
    EpisodeSampler,
    LabelledTable,
    LeakError,
    TaskShape,
    column_auroc,
    headline_episodes,
    labelled_table,
    n_way_episodes,
    shortcut,
)
from kshot.episodes.leaks import both_ways, label_copies, refuse_repeats, repeated_across, shortcuts_by_family


def test_the_auroc_of_a_number_is_scikit_learns_on_either_side() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(500) < 0.3
    values = np.round(rng.normal(size=500) - truth, 1)
    expected = roc_auc_score(truth, -values)
    assert column_auroc(pl.Series(np.append(values, 1e6).tolist()), np.append(truth, False)) >= expected - 0.01
    wide = pl.Series(values + np.arange(500) * 1e-9)  # too many values to be judged one by one
    assert column_auroc(wide, truth) == pytest.approx(roc_auc_score(truth, -wide.to_numpy()), abs=1e-12)


def test_a_value_in_the_middle_a_word_and_a_length_tell_too() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(2000) < 0.2
    middle = pl.Series(np.where(truth, 5, rng.choice([1, 9], 2000)))
    word = pl.Series(np.where(truth, "nmap", rng.choice(["curl", "chrome"], 2000)))
    length = pl.Series([("z" * 30 if t else "") + str(i) for i, t in enumerate(truth)])
    for column in (middle, word, length):
        assert column_auroc(column, truth) > 0.999
    assert column_auroc(pl.Series([f"{i}" for i in rng.permutation(2000)]), truth) < 0.6
    assert column_auroc(pl.Series([None, None, 1.0, 2.0]), np.array([True, True, False, False])) == 1.0


def test_the_shortcut_is_the_best_column() -> None:
    table = make_table()
    found = shortcut(table)
    assert found is not None and found.column == "size" and found.auroc > 0.99
    assert {s.family for s in shortcuts_by_family(table)} == {"worm", "scan"}
    assert shortcuts_by_family(table, least=1.01) == []
    assert shortcut(make_table(benign=0)) is None


def test_rows_with_two_labels_are_counted() -> None:
    frame = pl.DataFrame({"x": [1, 1, 2, 3, 3]})
    assert both_ways(labelled_table("t", "c", frame, ["benign", "worm", "worm", "worm", "moth"])) == 4


def test_rows_that_another_table_has_are_counted() -> None:
    first = labelled_table("a", "c", pl.DataFrame({"x": [1, 2, 3], "y": [0, 0, 0]}), ["benign", "worm", "worm"])
    second = labelled_table("b", "c", pl.DataFrame({"x": [1.0, 2.0, 2.5]}), ["benign", "benign", "worm"])
    same = labelled_table("b", "c", pl.DataFrame({"x": [1, 2, 9]}), ["benign", "benign", "worm"])
    assert repeated_across(first, same) == 1
    assert repeated_across(first, second) == 0 or repeated_across(first, second) == 1
    with pytest.raises(EpisodeError, match="share no column"):
        repeated_across(first, labelled_table("d", "c", pl.DataFrame({"z": [1]}), ["worm"]))


def test_a_table_made_without_the_constructor_is_still_checked_for_repeats() -> None:
    labels = np.array(["benign", "benign"], dtype=object)
    with pytest.raises(LeakError, match="row 2 repeats an earlier one"):
        refuse_repeats(LabelledTable("t", "c", pl.DataFrame({"x": [1, 1]}), labels))
    refuse_repeats(make_table())


def test_nothing_is_drawn_from_a_table_that_repeats_itself() -> None:
    table = make_table()
    twice = table.take(np.append(np.arange(len(table)), 0))
    with pytest.raises(LeakError, match="row 1811 repeats an earlier one"):
        next(headline_episodes([twice]))
    with pytest.raises(LeakError, match="repeats"):
        next(n_way_episodes([twice], TaskShape(n_way=2)))
    with pytest.raises(LeakError, match="repeats"):
        EpisodeSampler([twice])


def test_a_column_that_is_the_label_is_found() -> None:
    labels = np.array(["benign", "worm", "moth"] * 5, dtype=object)
    frame = pl.DataFrame(
        {
            "code": [0, 1, 2] * 5,
            "word": ["a", "b", None] * 5,
            "two": [0, 1, 1] * 5,
            "more": list(range(15)),
            "mixed": [0, 1, 2] * 4 + [1, 0, 2],
        }
    )
    assert label_copies(frame, labels) == ["code", "word"]
    assert label_copies(frame, np.full(15, "benign", dtype=object)) == []
