"""What leaves the program: nothing in it steers a terminal, a log or a spreadsheet (R35)."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cli_runs import Run
from hypothesis import given
from hypothesis import strategies as st

from kshot.cli.clean import clean, clean_cell, clean_json
from kshot.cli.flags import choose_format
from kshot.cli.output import write_frames
from kshot.cli.views import alerts_table, flow_lines, lasted, render
from kshot.records.alerts import ALERT_SCHEMA
from kshot.records.flows import FLOW_SCHEMA

STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
HOSTILE = "\x1b]0;owned\x07\x1b[31m\u202egnp.exe\x9b2J\r\n=cmd|' /C calc'!A0"


@given(st.text())
def test_clean_text_steers_nothing_and_loses_nothing(text: str) -> None:
    safe = clean(text)
    assert not STEERING.search(safe)
    if not STEERING.search(text) and safe == text:
        return
    assert len(safe) > len(text)


@given(st.text(), st.sampled_from(["=", "+", "-", "@", ""]))
def test_no_cell_begins_a_formula(text: str, start: str) -> None:
    safe = clean_cell(start + text)
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert not STEERING.search(safe)


@given(st.dictionaries(st.text(), st.text()))
def test_json_says_the_same_and_steers_nothing(value: dict[str, str]) -> None:
    text = clean_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert not STEERING.search(text)


def hostile_alerts() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "threat": ["t"],
            "originator": [HOSTILE],
            "responder": ["-2+3"],
            "first_time": [None],
            "last_time": [None],
            "flows": [1],
            "score": [-2.5],
            "p_value": [0.001],
            "calibrated": ["site"],
            "attack": [["T1071"]],
            "reasons": [[HOSTILE, "b"]],
            "first_record": [1],
        },
        schema=ALERT_SCHEMA,
    )


@pytest.mark.parametrize("form", ["csv", "jsonl", "table"])
def test_hostile_text_stays_text(tmp_path: Path, form: str) -> None:
    target = tmp_path / "out"
    if form == "table":
        render([alerts_table(hostile_alerts(), ranked=False)], target)
    else:
        write_frames([hostile_alerts()], ALERT_SCHEMA, form, target)
    text = target.read_bytes().decode()
    assert not STEERING.search(text.replace("\n", ""))
    if form == "csv":
        (row,) = csv.DictReader(text.splitlines())
        assert row["responder"] == "'-2+3"
        assert row["score"] == "-2.5", "numbers keep their sign"
    if form == "jsonl":
        assert json.loads(text)["originator"] == HOSTILE


def test_hostile_column_names_and_values_on_the_way_through(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"src_ip": [HOSTILE] * 300, "=a\x1b[2J": rng.random(300), "size": rng.random(300)})
    frame.write_parquet(tmp_path / "t.parquet")
    ran = run("learn", "t", "--shots", tmp_path / "t.parquet", "--where", "size > 0.98")
    assert ran.code == 0
    run_scan = run("scan", tmp_path / "t.parquet", "--false-alarm-rate", "0.05", "-o", "csv")
    for said in (ran.out, ran.err, run_scan.out, run_scan.err, run("threats", "show", "t").out):
        assert not STEERING.search(said.replace("\n", ""))


def test_hostile_file_names(run: Run, tmp_path: Path) -> None:
    ran = run("flows", tmp_path / "a\x1b[31m\u202eb.pcap")
    assert ran.code == 2
    assert not STEERING.search(ran.err.replace("\n", ""))


def test_parquet_streams_and_keeps_the_frames_own_error(tmp_path: Path) -> None:
    frames = [pl.DataFrame({"a": [i]}) for i in range(5)]
    write_frames(iter(frames), {"a": pl.Int64()}, "parquet", tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet")["a"].to_list() == [0, 1, 2, 3, 4]

    def broken():
        yield frames[0]
        raise LookupError("in the middle")

    with pytest.raises(LookupError, match="in the middle"):
        write_frames(broken(), {"a": pl.Int64()}, "parquet", tmp_path / "b.parquet")
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["a.parquet"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_nothing_to_write_is_still_a_file(tmp_path: Path, form: str) -> None:
    write_frames([], FLOW_SCHEMA, form, tmp_path / "none")
    size = (tmp_path / "none").stat().st_size
    assert (size == 0) == (form == "jsonl")


def test_flow_lines_need_flows() -> None:
    assert list(flow_lines([pl.DataFrame(schema=FLOW_SCHEMA)])) == []


@pytest.mark.parametrize(
    ("told", "output", "form"),
    [
        (None, None, "table"),
        (None, "x.csv", "csv"),
        (None, "x.NDJSON", "jsonl"),
        (None, "x", "table"),
        (None, "x.parquet", "parquet"),
    ],
)
def test_the_ending_tells_the_format(told: None, output: str | None, form: str) -> None:
    assert choose_format(told, Path(output) if output else None) == form


def test_spans_are_told_in_a_fitting_unit() -> None:
    assert [lasted(s) for s in (0.0, 59.94, 60, 3_600, 86_400 * 3)] == ["0 s", "59.9 s", "1 min", "1 h", "3 d"]
