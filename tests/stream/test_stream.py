"""Selection, parties, grouping, budgets, and flows read back: the steps around the stages."""

from __future__ import annotations

import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.errors import UserError
from kshot.stream.budget import rate_for_budget
from kshot.stream.grouping import group_alerts, number_groups
from kshot.stream.parties import parties
from kshot.stream.selection import columns_named, select

TIME = pl.Datetime("ns", "UTC")
NOON = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)


def records(rows: list[tuple[str | None, str | None, float | None, float | None]]) -> pl.DataFrame:
    def at(seconds: float | None) -> datetime.datetime | None:
        return None if seconds is None else NOON + datetime.timedelta(seconds=seconds)

    return pl.DataFrame(
        [(a, b, at(first), at(last)) for a, b, first, last in rows],
        schema={"originator": pl.String, "responder": pl.String, "first_time": TIME, "last_time": TIME},
        orient="row",
    )


FRAME = pl.DataFrame({"resp_port": [53, 80, None], "name": ["a", "b%", "c"], "parts": [[1], [2], []]})


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("resp_port = 53", [True, False, False]),
        ("resp_port != 53 and name like 'b%'", [False, True, False]),
        ("resp_port is null", [False, False, True]),
        ("name in ('a', 'c')", [True, False, True]),
        ("RESP_PORT = 53", None),
        ("resp_port > avg(resp_port)", [False, True, False]),
        ("true", [True, True, True]),
        ("1 = 2", [False, False, False]),
        ("resp_port", None),
        ("name > 5", None),
        ("", None),
        ("resp_port = 53; drop table x", None),
        ("* = 3", None),
        ("name = 'it''s'", [False, False, False]),
    ],
)
def test_selection(expression: str, chosen: list[bool] | None) -> None:
    if chosen is not None:
        assert select(FRAME, expression).to_list() == chosen
        return
    with pytest.raises(UserError) as caught:
        select(FRAME, expression)
    assert str(caught.value).startswith(f"--where {expression!r}: ")
    assert "\n" not in str(caught.value)


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="abresp_ot= <>'\"();,.*0159\n%", max_size=40))
def test_no_expression_raises_anything_else(expression: str) -> None:
    try:
        assert select(FRAME, expression).len() == 3
    except UserError:
        pass


def test_a_near_column_is_offered_whatever_its_case() -> None:
    with pytest.raises(UserError, match="near it: Label"):
        select(pl.DataFrame({"Label": [1], "x": [2]}), "label = 1")
    assert columns_named("a = 1 and (b > a)") == ["a", "b"]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1_772_452_800], NOON),
        ([1_772_452_800.25], NOON + datetime.timedelta(seconds=0.25)),
        ([1_772_452_800_500], NOON + datetime.timedelta(seconds=0.5)),
        ([1_772_452_800_000_001], NOON + datetime.timedelta(microseconds=1)),
        ([1_772_452_800_000_000_000], NOON),
        (["2026-03-02T12:00:00Z"], NOON),
        (["2026-03-02 12:00:00.5"], NOON + datetime.timedelta(seconds=0.5)),
        (["2026-03-02T14:00:00+02:00"], NOON),
        (["2026-03-02T14:00:00+0200"], NOON),
        ([NOON], NOON),
        ([NOON.replace(tzinfo=None)], NOON),
        (["yesterday"], None),
        ([True], None),
    ],
)
def test_times_in_any_dress(times: list[object], expected: datetime.datetime | None) -> None:
    found = parties(pl.DataFrame({"ts": times}))
    assert found.schema == {"originator": pl.String, "responder": pl.String, "first_time": TIME, "last_time": TIME}
    assert found["first_time"].to_list() == found["last_time"].to_list() == [expected]


def test_parties_by_their_names() -> None:
    frame = pl.DataFrame({"Src IP": ["a"], "id.resp_h": ["b"], "Timestamp": [5], "end_time": [9]})
    assert parties(frame).select("originator", "responder").row(0) == ("a", "b")
    assert parties(frame)["last_time"][0].timestamp() == 9  # type: ignore[union-attr]


def test_groups_split_where_it_was_quiet() -> None:
    rows = records(
        [
            ("a", "b", 0, 10),
            ("a", "b", 5_000, 5_001),  # 4,990 s after the end of the first
            ("a", "b", 100, 4_000),  # long: it bridges the pause
            ("b", "a", 1, 2),
            ("a", None, 1, 2),
            (None, None, 1, 2),
            (None, None, 1, 2),
            ("a", "b", 9_000, 9_001),
        ]
    )
    groups = number_groups(rows, ["originator", "responder"], 3_600).to_list()
    assert groups[0] == groups[1] == groups[2]
    assert len({groups[0], *groups[3:]}) == 6


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", None]), st.sampled_from(["x", None]), st.integers(0, 20), st.integers(0, 5),
            st.sampled_from(["t", "u"]), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1)),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_grouping_conserves_records(rows: list[tuple]) -> None:
    alarms = records([(a, b, first, first + length) for a, b, first, length, *_ in rows]).with_columns(
        pl.Series("row", range(1, len(rows) + 1), dtype=pl.UInt64),
        pl.Series("threat", [row[4] for row in rows], dtype=pl.String),
        pl.Series("score", [row[5] for row in rows], dtype=pl.Float64),
        pl.Series("p_value", [row[6] for row in rows], dtype=pl.Float64),
    )
    alerts = group_alerts(alarms, 7.0)
    assert alerts["flows"].sum() == len(rows)
    assert alerts["row"].n_unique() == alerts.height
    for alert in alerts.iter_rows(named=True):
        loudest = alarms.row(alert["row"] - 1, named=True)
        assert all(alert[name] == loudest[name] for name in ("threat", "originator", "responder", "score", "p_value"))
        assert alert["first_time"] <= loudest["first_time"] and loudest["last_time"] <= alert["last_time"]
    known = alerts["p_value"].drop_nulls().to_list()
    assert known == sorted(known), "the loudest first"


def test_a_budget_is_kept_when_alarms_are_independent() -> None:
    rng = np.random.default_rng(0)
    n, hours = 20_000, 12
    rows = records(
        [(f"h{rng.integers(50)}", f"s{rng.integers(400)}", t, t + 1) for t in np.sort(rng.uniform(0, hours * 3_600, n))]
    )
    rate = rate_for_budget(rows, 20)
    days = hours / 24
    told = []
    for _ in range(30):
        alarmed = rows.filter(pl.Series(rng.random(n) < rate))
        told.append(number_groups(alarmed, ["originator", "responder"]).n_unique() / days)
    assert 0.8 * 20 <= np.mean(told) <= 1.2 * 20
    assert rate_for_budget(rows, 40) > rate


def test_a_budget_counts_groups_not_records() -> None:
    one_pair = records([("a", "b", t, t) for t in range(0, 86_400, 10)])
    many_pairs = records([(str(t), "b", t, t) for t in range(0, 86_400, 10)])
    assert rate_for_budget(one_pair, 0.5) > 0 and rate_for_budget(many_pairs, 10) == pytest.approx(10 / 8_640, rel=0.02)
    assert rate_for_budget(one_pair, 1.5) > 0.4, "one group cannot be more than one alert"


@pytest.mark.parametrize(
    ("rows", "said"),
    [([("a", "b", None, None)] * 3, "have none"), ([("a", "b", 0, 1), ("a", "b", 3, 4)], "too short to say")],
)
def test_a_budget_needs_time(rows: list[tuple[str, str, float | None, float | None]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        rate_for_budget(records(rows), 5)
