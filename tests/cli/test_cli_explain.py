"""`kshot explain` with real files: what it tells, checked by scanning again; wrong questions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cli_runs import Run, one_line


@pytest.fixture
def tables(tmp_path: Path, run: Run) -> Path:
    """Benign rows, and rows of which the last holds an attack that a threat was taught from."""
    rng = np.random.default_rng(0)
    names = [*"abcdef"]

    def rows(n: int, shift: float) -> pl.DataFrame:
        values = rng.normal(size=(n, 6))
        values[:, :2] += shift
        return pl.DataFrame(values, schema=names).with_columns(way=pl.Series(rng.choice(["in", "out"], n)))

    rows(2_000, 0.0).write_csv(tmp_path / "benign.csv")
    rows(4, 6.0).write_csv(tmp_path / "shots.csv")
    pl.concat([rows(200, 0.0), rows(1, 6.0)]).write_csv(tmp_path / "day.csv")
    assert run("learn", "odd", "--shots", tmp_path / "shots.csv", "--quiet").code == 0
    return tmp_path


def _flags(tables: Path) -> tuple[object, ...]:
    return (tables / "day.csv", "--reference", tables / "benign.csv", "--false-alarm-rate", "0.005")


def test_what_it_says_must_change_is_enough_and_needed(run: Run, tables: Path) -> None:
    ran = run("explain", *_flags(tables), "--alert", "1", "-o", "jsonl")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["threat"], told["record"], told["calibrated"]) == ("odd", 201, "site")
    assert told["is_alarm"]
    assert told["p_value"] <= 0.005
    assert told["measured_on"] == 2_000
    assert {one["column"] for one in told["columns"][:2]} == {"a", "b"}
    assert all(one["robust_z"] > 3 and one["share_beyond"] < 0.01 for one in told["columns"][:2])
    assert len(told["nearest_shots"]) == 3
    assert {told["nearest_benign"][0][0]["column"], told["nearest_benign"][0][1]["column"]} == {"a", "b"}
    changes = told["would_not_alarm_with"]
    assert changes
    day = pl.read_csv(tables / "day.csv")

    def alarms(changed: list[dict[str, object]]) -> bool:
        row = day[200:].with_columns(pl.lit(one["instead"]).alias(str(one["column"])) for one in changed)
        pl.concat([day[:200], row], how="vertical_relaxed").write_csv(tables / "day.csv")
        ran = run("explain", *_flags(tables), "--record", "201", "-o", "jsonl")
        again = json.loads(ran.out)
        assert (again["would_not_alarm_with"] == []) != again["is_alarm"]
        return bool(again["is_alarm"])

    assert not alarms(changes)
    assert alarms(changes[1:])


def test_a_person_reads_it_as_text(run: Run, tables: Path) -> None:
    ran = run("explain", *_flags(tables), "--alert", "1", "--output", tables / "why.txt")
    assert ran.code == 0, ran.err
    text = (tables / "why.txt").read_text(encoding="utf-8")
    assert text.startswith("odd: record 201\np-value ")
    assert "of 2,000 records of the reference" in text
    assert "what would have to change" in text
    quiet = run("explain", *_flags(tables), "--record", "1")
    assert "nothing: it does not alarm" in quiet.out


def test_an_alert_measured_on_the_input_itself(run: Run, days: Path, taught: None) -> None:
    ran = run("explain", days / "two.pcap", "--alert", "1", "-o", "jsonl", "--quiet")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["threat"], told["calibrated"]) == ("dns-tunnel", "capture")
    assert told["originator"]
    assert told["measured_on"] > 100


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((), "give --alert N"),
        (("--alert", "1", "--record", "1"), "give --alert N"),
        (("--alert", "99"), "--alert 99: the scan gave "),
        (("--record", "202"), "--record 202: it is not among the 201 records judged"),
    ],
)
def test_a_wrong_question_is_one_line(run: Run, tables: Path, asked: tuple[str, ...], said: str) -> None:
    ran = run("explain", *_flags(tables), *asked)
    assert ran.code == 2
    assert said in one_line(ran.err)
