"""Rows as kept: labels in one spelling, duplicates out, order and groups beside."""

from __future__ import annotations

import tomllib
from typing import Any

import polars as pl
import pytest
from data_maps import MAP, logins
from hypothesis import given
from hypothesis import strategies as st

from kshot.datasets import parse_declaration
from kshot.datasets.rows import GROUP, LABEL, ORDER, SOURCE_LABEL, keep_rows, table_of_rows
from kshot.errors import InputError


def told(**change: Any) -> Any:
    return parse_declaration({**tomllib.loads(MAP), **change}, "map")


def test_labels_groups_and_order_are_normalised() -> None:
    frame = logins()
    kept = keep_rows(told(), frame, "logins")
    assert kept.read == 400 and kept.excluded == 81  # every fifth is unclear, one has no label
    assert kept.frame.columns == ["tries", "agent", "tool", LABEL, SOURCE_LABEL, GROUP, ORDER]
    assert set(kept.frame[LABEL]) == {"benign", "brute-force"}
    assert set(kept.frame[SOURCE_LABEL]) == {"benign", "brute-ssh", "brute-ftp"}
    assert not kept.frame["agent"].str.starts_with("Mozilla/").any()
    assert kept.frame.height == 400 - kept.excluded - kept.duplicates
    assert not kept.frame.select("tries", "agent", "tool", SOURCE_LABEL).is_duplicated().any()


def test_the_table_is_in_order_of_time_and_what_gives_away_is_no_feature() -> None:
    kept = keep_rows(told(), logins(), "logins")
    table = table_of_rows(told(), kept.frame)
    assert table.features.columns == ["tries", "agent"]
    assert table.groups is not None
    numbers = [int(table.group_name(g)[1:]) for g in table.groups]
    assert numbers[0] == max(numbers) and numbers[-1] == min(numbers), "the file is in reverse order of time"


def test_times_as_text_are_sorted_by_their_format() -> None:
    frame = pl.DataFrame({"t": ["02/01/2026", "01/02/2026", "15/01/2026"], "x": [1, 2, 3], "y": ["ok"] * 3})
    about = parse_declaration(
        {"name": "a", "corpus": "c", "label": "y", "benign": ["ok"], "order": "t", "order_format": "%d/%m/%Y"}, "map"
    )
    assert table_of_rows(about, keep_rows(about, frame, "f").frame).features["x"].to_list() == [1, 3, 2]
    with pytest.raises(InputError, match="f: column 't' is not like"):
        keep_rows(about, frame.with_columns(t=pl.lit("soon")), "f")


def test_the_family_can_stand_in_another_column() -> None:
    frame = pl.DataFrame({"x": range(5), "bad": [0, 1, 1, 0, 1], "how": [None, "scan", "flood", "scan", None]})
    about = parse_declaration({"name": "a", "corpus": "c", "label": "bad", "benign": ["0"], "family": "how"}, "map")
    kept = keep_rows(about, frame, "f")
    assert kept.frame[LABEL].to_list() == ["benign", "scan", "flood", "benign"] and kept.excluded == 1
    assert table_of_rows(about, kept.frame).features.columns == ["x"]


def test_an_unlabelled_pool_needs_no_label() -> None:
    about = parse_declaration({"name": "a", "corpus": "c", "unlabelled": True}, "map")
    assert set(keep_rows(about, pl.DataFrame({"x": [1, 2]}), "f").frame[LABEL]) == {"benign"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "verdikt"}, "has no column 'verdikt', named as label; did you mean verdict"),
        ({"group": ["host"]}, "has no column 'host', named as group"),
        ({"fold": "part"}, "has no column 'part', named as fold"),
        ({"drop": ["gone"]}, "has no column 'gone', named as drop"),
        ({"mask": {"gone": "x"}}, "has no column 'gone', named as mask"),
        ({"mask": {"tries": "x"}}, "column 'tries' is no text"),
        ({"mask": {"agent": "("}}, "the mask of 'agent' is no regular expression"),
        ({"benign": ["fine"]}, "no row of column 'verdict' is fine; it holds ok, brute-ssh"),
        ({"exclude": ["*"], "benign": []}, "no row has a label that is kept"),
    ],
)
def test_what_does_not_fit_is_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        keep_rows(told(**change), logins(), "logins.csv")
    assert f"logins.csv: {message}" in str(caught.value) and "\n" not in str(caught.value)


def test_strange_types_are_features_or_one_line() -> None:
    frame = pl.DataFrame(
        {
            "ids": [[1, 2], [1], [1, 2], []],
            "raw": [b"\xff", b"", b"\xff", None],
            "day": pl.Series([1, 2, 1, 4]).cast(pl.Datetime("us")),
            "kind": pl.Series(["a", "b", "a", "b"], dtype=pl.Categorical),
            "y": ["ok", "worm", "ok", "worm"],
        }
    )
    about = {"name": "a", "corpus": "c", "label": "y", "benign": ["ok"]}
    kept = keep_rows(parse_declaration(about, "map"), frame, "f")
    assert kept.duplicates == 1 and kept.frame["ids"].to_list() == [[1, 2], [1], []]
    for change in ({"label": "ids"}, {"label": "raw"}, {"group": "ids"}):
        with pytest.raises(InputError, match="f: ") as caught:
            keep_rows(parse_declaration({**about, "benign": [], **change}, "map"), frame, "f")
        assert "\n" not in str(caught.value)


def test_a_column_with_a_label_a_row_is_no_label() -> None:
    frame = pl.DataFrame({"x": range(6000), "y": [f"row {i}" for i in range(6000)]})
    about = parse_declaration({"name": "a", "corpus": "c", "label": "y"}, "map")
    with pytest.raises(InputError, match="column 'y' holds 6,000 different labels; is it the label"):
        keep_rows(about, frame, "f")


def test_a_masked_column_may_be_dropped_too() -> None:
    assert "agent" not in keep_rows(told(drop=["agent"]), logins(), "f").frame.columns


def test_columns_that_kshot_keeps_for_itself_are_refused() -> None:
    with pytest.raises(InputError, match="kshot_label, which kshot keeps for itself"):
        keep_rows(told(), logins().with_columns(kshot_label=pl.lit("x")), "f")


def test_a_label_that_kshot_would_misread_is_refused() -> None:
    frame = pl.DataFrame({"x": [1, 2], "y": ["normal", "benign"]})
    about = parse_declaration({"name": "a", "corpus": "c", "label": "y", "benign": ["normal"]}, "map")
    with pytest.raises(InputError, match="holds 'benign', which the map calls an attack"):
        keep_rows(about, frame, "f")


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["ok", "a", "b", None, " a"])), min_size=1, max_size=30))
def test_every_row_is_kept_or_counted(rows: list[tuple[int, str | None]]) -> None:
    frame = pl.DataFrame({"x": [x for x, _ in rows], "y": [y for _, y in rows]}, schema={"x": pl.Int64, "y": pl.String})
    about = parse_declaration({"name": "n", "corpus": "c", "label": "y"}, "map")
    try:
        kept = keep_rows(about, frame, "f")
    except InputError:
        assert all(y is None for _, y in rows)
        return
    assert kept.frame.height + kept.excluded + kept.duplicates == kept.read == len(rows)
    wanted = list(dict.fromkeys((x, y.strip()) for x, y in rows if y is not None))
    assert kept.frame.select("x", LABEL).rows() == wanted
