"""Threats as data: what may be learned from, what stands for many, what fits an input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.errors import ThreatError
from kshot.intel import (
    add_shots,
    check_attack_ids,
    droppable_columns,
    fit_threats,
    plain_types,
    shot_quality,
    table_fingerprint,
    teach,
    thin,
)


@pytest.mark.parametrize("bad", ["T107", "T10711", "1071", "T1071.04", "TA0001", "T1071.004x", "T1071 004"])
def test_malformed_technique_ids(bad: str) -> None:
    with pytest.raises(ThreatError, match="look like T1071"):
        check_attack_ids([bad])


def test_technique_ids_once_each() -> None:
    assert check_attack_ids(["T1071", "t1071", "", "T1041.001, T1071"]) == ("T1071", "T1041.001")


COLUMNS = {
    # name -> (values, reason or "")
    "id": ([3, 1, 2] * 10, "identifier-like"),
    "Unnamed: 0": (list(range(30)), "identifier-like"),
    "seq": (list(range(5, 35)), "identifier-like"),
    "event": ([f"{i:08x}-0000-4000-8000-{i:012x}" for i in range(30)], "identifier-like"),
    "ts": ([1.5] * 30, "time-like"),
    "Timestamp": (["x"] * 30, "time-like"),
    "seen": ([1_700_000_000 + i * 7 for i in range(30)], "time-like"),
    "when": ([f"2026-03-02 08:00:{i:02d}" for i in range(30)], "time-like"),
    "Src IP": (["x"] * 30, "address-like"),
    "id.orig_h": (["x"] * 30, "address-like"),
    "peer": ([f"10.0.0.{i}" for i in range(30)], "address-like"),
    "six": ([f"2001:db8::{i:x}" for i in range(30)], "address-like"),
    "card": ([f"00:11:22:33:44:{i:02x}" for i in range(30)], "address-like"),
    "dst_port": ([53] * 30, "port-like"),
    "L4_SRC_PORT": ([53] * 30, "port-like"),
    "sttl": ([64] * 30, "TTL-like"),
    "attack_cat": (["DoS"] * 30, "label-like"),
    "Label": ([0, 1, 1] * 10, "label-like"),
    "class": (["a"] * 30, "label-like"),
    "parts": ([[1, 2]] * 30, "neither number, flag nor text"),
    "bytes": ([i * 37 % 11 for i in range(30)], ""),
    "duration": ([0.5 * i for i in range(30)], ""),
    "url": ([f"/a?x={i}" for i in range(30)], ""),
    "n_ips": ([3, 5, 5] * 10, ""),
    "same_port_rate": ([0.5] * 30, ""),
    "flag": ([True, False, True] * 10, ""),
    "valid": ([None, 2.5, 3.5] * 10, ""),
    "ship_weight": ([1.0] * 30, ""),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_give_the_answer_away(name: str) -> None:
    values, reason = COLUMNS[name]
    assert droppable_columns(pl.DataFrame({name: values}, strict=False)) == ({name: reason} if reason else {})


def test_the_users_word_on_columns() -> None:
    frame = pl.DataFrame({"src_ip": ["10.0.0.1"], "bytes": [1], "color": ["red"], "label": ["x"]})
    assert droppable_columns(frame, named=["color", "label"], drop=["bytes"], keep=["src_ip", "label", "bytes"]) == {
        "bytes": "named in --drop",
        "color": "named in --where",
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 5))
def test_thinned_rows_are_rows_in_order(n: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"a": rng.integers(0, 4, n), "b": [[None, "x", "yy"][i] for i in rng.integers(0, 3, n)]})
    rows = thin(frame, most, np.random.default_rng(seed))
    assert 1 <= len(rows) <= min(n, most)
    assert (np.diff(rows) > 0).all() and rows[0] >= 0 and rows[-1] < n
    assert (rows == thin(frame, most, np.random.default_rng(seed))).all()


def test_a_rare_variant_is_not_lost_in_the_crowd() -> None:
    rng = np.random.default_rng(0)
    crowd, rare = rng.normal(0, 1, (997, 4)), rng.normal(9, 0.1, (3, 4))
    frame = pl.DataFrame(np.vstack([crowd, rare]), schema=list("abcd"))
    kept = thin(frame, 10, np.random.default_rng(1))
    assert (kept >= 997).sum() >= 1
    drawn = [(np.random.default_rng(s).choice(1_000, 10, replace=False) >= 997).any() for s in range(200)]
    assert np.mean(drawn) < 0.1, "chance alone would lose it"


def test_the_thinned_cover_better_than_a_draw() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 10, (12, 3))
    sizes = (400, 200, 100, 80, 60, 50, 40, 30, 20, 10, 6, 4)
    points = np.vstack([c + rng.normal(0, 0.3, (n, 3)) for c, n in zip(centres, sizes, strict=True)])
    kept = thin(pl.DataFrame(points, schema=list("xyz")), 12, rng)
    owner = np.repeat(np.arange(12), sizes)
    assert len(set(owner[kept])) >= 9
    assert len(set(owner[rng.choice(1_000, 12, replace=False)])) <= 8


def test_equal_rows_are_no_trouble() -> None:
    frame = pl.DataFrame({"a": [1.0] * 50, "b": ["same"] * 50})
    assert 1 <= len(thin(frame, 5, np.random.default_rng(0))) <= 5


def lesson(**changes: object) -> dict[str, object]:
    return {"kind": "table", "fingerprint": "f", "created": "2026"} | changes


def test_teaching_keeps_each_shot_once() -> None:
    threat = teach("t", pl.DataFrame({"a": [1, 1, 2]}), **lesson(attack=["t1041"]))  # type: ignore[arg-type]
    assert threat.shots["a"].to_list() == [1, 2]
    assert threat.attack == ("T1041",)
    with pytest.raises(ThreatError, match="no shots"):
        teach("t", pl.DataFrame({"a": []}), **lesson())  # type: ignore[arg-type]
    with pytest.raises(ThreatError, match="severity"):
        teach("t", pl.DataFrame({"a": [1]}), **lesson(severity="loud"))  # type: ignore[arg-type]


def test_adding_shots() -> None:
    old = teach("t", pl.DataFrame({"a": [1.0], "b": ["x"]}), **lesson(description="old", source="one"))  # type: ignore[arg-type]
    new = teach("t", pl.DataFrame({"b": ["x", "y"], "a": [1.0, 2.0]}), **lesson(source="two", attack=["T1041"]))  # type: ignore[arg-type]
    both = add_shots(old, new)
    assert both.shots.rows() == [(1.0, "x"), (2.0, "y")]
    assert (both.description, both.source, both.attack) == ("old", "one; two", ("T1041",))
    with pytest.raises(ThreatError, match="--replace"):
        add_shots(old, replace(new, shots=new.shots.drop("b")))


def test_which_threats_fit() -> None:
    one = teach("one", pl.DataFrame({"a": [1.0], "b": ["x"]}), **lesson())  # type: ignore[arg-type]
    two = teach("two", pl.DataFrame({"b": ["z"], "a": [5.0]}), **lesson())  # type: ignore[arg-type]
    narrow = teach("narrow", pl.DataFrame({"a": [5.0]}), **lesson())  # type: ignore[arg-type]
    lacking = teach("lacking", pl.DataFrame({"zz": [5.0]}), **lesson())  # type: ignore[arg-type]
    other = teach("other", pl.DataFrame({"b": [5.0]}), **lesson())  # type: ignore[arg-type]
    flow = teach("flow", pl.DataFrame({"a": [5.0]}), **lesson(kind="flow"))  # type: ignore[arg-type]
    schema = pl.DataFrame({"a": [1.0], "b": ["q"], "more": [True]}).schema
    fitted = fit_threats([one, two, narrow, lacking, other, flow], "table", schema, "f")
    assert [[threat.name for threat in group] for group in fitted.groups] == [["one", "two"], ["narrow"]]
    assert all(threat.shots.columns == ["a", "b"] for threat in fitted.groups[0])
    assert fitted.skipped == {
        "lacking": "the input lacks column zz",
        "other": "column b is text in the input and number in the threat",
        "flow": "it was taught on flows, the input holds table rows",
    }
    assert "learn it again" in fit_threats([flow], "flow", schema, "newer").skipped["flow"]


def test_types_are_compared_by_what_they_mean() -> None:
    a = pl.DataFrame({"n": [1], "t": pl.Series(["x"], dtype=pl.Categorical), "e": ["", None][1:], "f": [True]})
    b = pl.DataFrame({"f": [False], "n": [1.5], "t": ["y"], "e": pl.Series([None], dtype=pl.Int8)})
    assert dict(plain_types(a).schema) == {"n": pl.Float64, "t": pl.String, "e": pl.Null, "f": pl.Boolean}
    assert table_fingerprint(plain_types(a).schema) == table_fingerprint(plain_types(b).schema)
    assert table_fingerprint(a.schema) != table_fingerprint(a.drop("n").schema)


def test_quality_tells_a_threat_from_noise() -> None:
    rng = np.random.default_rng(0)
    columns = list("abcd")
    reference = pl.DataFrame(rng.normal(0, 1, (200, 4)), schema=columns)
    good = shot_quality(pl.DataFrame(rng.normal(7, 0.5, (3, 4)), schema=columns), reference)
    noise = shot_quality(pl.DataFrame(rng.normal(0, 1, (3, 4)), schema=columns), reference)
    assert good is not None and noise is not None
    assert good.auroc > 0.98 and good.found > 0.8
    assert noise.auroc < 0.85
    assert len(good.odd) == 0
    assert shot_quality(reference.head(1), reference) is None
    assert shot_quality(reference.head(5), reference.head(10)) is None
