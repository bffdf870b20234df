"""`kshot learn` and `kshot threats` with real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cli_runs import Run, one_line

from kshot.features import FEATURE_COLUMNS
from kshot.store import ThreatStore

WHERE = "responder = '203.0.113.7'"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Requests, some of them long and odd; with columns that must not be learned from."""
    rng = np.random.default_rng(7)
    bad = np.arange(600) % 20 == 0
    pl.DataFrame(
        {
            "src_ip": [f"10.0.0.{i % 250}" for i in range(600)],
            "timestamp": [f"2026-03-02T08:{i // 60 % 60:02d}:{i % 60:02d}Z" for i in range(600)],
            "length_bytes": np.where(bad, rng.integers(900, 1_200, 600), rng.integers(20, 400, 600)),
            "depth": rng.integers(1, 6, 600),
            "path": [f"/x?id=1%27+or+1%3D{i}--" if b else f"/page/{i % 37}.html" for i, b in enumerate(bad)],
            "label": ["sqli" if b else "normal" for b in bad],
        }
    ).write_csv(tmp_path / "requests.csv")
    return tmp_path / "requests.csv"


def test_round_trip_on_a_capture(run: Run, days: Path, home: Path) -> None:
    arguments = ("learn", "dns-tunnel", "--shots", days / "one.pcap", "--where", WHERE, "--attack", "t1071.004,T1041")
    ran = run(*arguments, "--severity", "high", "--description", "names carry data")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("learned dns-tunnel from 12 flows, over ")
    assert "reference records (AUROC " in ran.out
    listed = run("threats", "list", "-o", "csv").out.splitlines()
    assert listed[0].startswith("name,kind,shots,columns,severity,attack")
    assert listed[1].startswith("dns-tunnel,flow,12,")
    assert "dns-tunnel" in run("threats", "list").out
    shown = run("threats", "show", "dns-tunnel").out
    assert "T1071.004 T1041" in shown and "names carry data" in shown
    assert run("threats", "remove", "dns-tunnel").code == 0
    assert ThreatStore(home).names() == []
    assert "no threat has been taught" in run("threats", "list").err


def test_shots_hold_features_and_nothing_that_names_anyone(run: Run, days: Path, home: Path) -> None:
    run("learn", "t", "--shots", days / "one.pcap", "--where", WHERE)
    threat = ThreatStore(home).load("t")
    assert set(threat.shots.columns) <= {column.name for column in FEATURE_COLUMNS}
    told = (home / "threats" / "t" / "threat.toml").read_text()
    assert "203.0.113.7" not in told and str(days) not in told
    assert "where responder = '(address)'" in told
    raw = (home / "threats" / "t" / "shots.parquet").read_bytes()
    assert b"203.0.113.7" not in raw and b"10.20.1.17" not in raw


def test_thinned_to_a_few_that_stand_for_all(run: Run, days: Path, home: Path) -> None:
    ran = run("learn", "t", "--shots", days / "one.pcap", "--where", WHERE, "--max-shots", "4")
    assert "from 4 flows that stand for 12" in ran.out
    first = ThreatStore(home).load("t").shots
    run("learn", "t", "--shots", days / "one.pcap", "--where", WHERE, "--max-shots", "4", "--replace")
    assert ThreatStore(home).load("t").shots.equals(first), "the same every time"


def test_one_shot_is_enough_and_says_what_it_cannot_tell(run: Run, days: Path) -> None:
    ran = run("learn", "t", "--shots", days / "one.pcap", "--where", WHERE, "--max-shots", "1")
    assert ran.code == 0
    assert "one example cannot be held out" in ran.out


def test_a_name_is_taken_until_told_otherwise(run: Run, days: Path, home: Path) -> None:
    arguments = ("learn", "t", "--shots", days / "one.pcap", "--where")
    run(*arguments, WHERE, "--max-shots", "3")
    ran = run(*arguments, WHERE)
    assert (ran.code, ran.out) == (2, "")
    assert "give --add" in one_line(ran.err)
    ran = run(*arguments, "resp_port = 25", "--max-shots", "2", "--add")
    assert "beside 3 shots it had (5 now)" in ran.out
    assert ThreatStore(home).load("t").shots.height == 5
    run(*arguments, "resp_port = 25", "--max-shots", "2", "--replace")
    assert ThreatStore(home).load("t").shots.height == 2
    assert "exclude each other" in one_line(run(*arguments, WHERE, "--add", "--replace").err)


def test_a_table_is_learned_without_what_gives_it_away(run: Run, table: Path, home: Path) -> None:
    ran = run("learn", "sqli", "--shots", table, "--where", "label = 'sqli'", "--max-shots", "10")
    assert ran.code == 0
    assert "columns left out: src_ip (address-like); timestamp (time-like); label (named in --where)" in one_line(
        ran.err
    )
    assert "from 10 rows that stand for 30, over 3 columns" in ran.out
    assert ThreatStore(home).load("sqli").shots.columns == ["length_bytes", "depth", "path"]
    ran = run("scan", table, "-o", "csv", "--verdicts", table.parent / "verdicts.csv", "--false-alarm-rate", "0.02")
    assert ran.code == 0, ran.err
    verdicts = pl.read_csv(table.parent / "verdicts.csv")
    bad = pl.read_csv(table)["label"] == "sqli"
    assert verdicts["alarm"].filter(bad).mean() > 0.9  # type: ignore[operator]
    assert verdicts["alarm"].filter(~bad).mean() < 0.06  # type: ignore[operator]


def test_keep_and_drop_have_the_last_word(run: Run, table: Path, home: Path) -> None:
    arguments = ("learn", "t", "--shots", table, "--where", "label = 'sqli'", "--max-shots", "5", "--quiet")
    ran = run(*arguments, "--keep", "src_ip", "--drop", "depth,path")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert ThreatStore(home).load("t").shots.columns == ["src_ip", "length_bytes"]


def test_many_labels_are_better_used_otherwise(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"size": rng.random(2_000), "depth": rng.random(2_000)})
    frame.with_columns(kind=pl.Series(np.arange(2_000) % 2)).write_csv(tmp_path / "t.csv")
    ran = run("learn", "t", "--shots", tmp_path / "t.csv", "--where", "kind = 1", "--max-shots", "3")
    assert ran.code == 0
    assert "stand for 1,000" in ran.out and "ordinary classifier" not in ran.err
    ran = run("learn", "u", "--shots", tmp_path / "t.csv", "--where", "kind = 1 or size > 0.5", "--max-shots", "3")
    assert "an ordinary classifier trained on all of them may serve better" in ran.err


def test_the_odd_shot_is_named(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    normal = rng.normal(0, 1, (600, 6))
    shots = rng.normal(6, 0.5, (8, 6))
    shots[5] = rng.normal(0, 0.3, 6)
    frame = pl.DataFrame(np.vstack([shots, normal]), schema=[f"f{i}" for i in range(6)])
    frame.with_columns(label=pl.Series(["bad"] * 8 + ["ok"] * 600)).write_parquet(tmp_path / "t.parquet")
    ran = run("learn", "t", "--shots", tmp_path / "t.parquet", "--where", "label = 'bad'")
    odd = [line for line in ran.err.splitlines() if "looks odd" in line]
    assert len(odd) == 1
    assert "t.parquet, row 6 looks odd" in odd[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--where", "resp_port = 7"], "no shots: --where 'resp_port = 7' holds for none of the"),
        (["--where", "resp_prt = 53"], "near it: resp_port"),
        (["--where", "1; drop table x"], "it must be a SQL condition"),
        (["--where", WHERE, "--attack", "T99"], "is no ATT&CK technique id"),
        (["--where", WHERE, "--severity", "awful"], "is none of low, medium, high, critical"),
        (["--where", WHERE, "--drop", "orig_bytes"], "--drop and --keep are for tables"),
        (["--where", WHERE, "--reference", "absent.pcap"], "absent.pcap: no such file"),
        (["--where", WHERE, "--max-shots", "0"], "see: kshot learn --help"),
    ],
)
def test_what_cannot_be_learned(run: Run, days: Path, home: Path, arguments: list[str], said: str) -> None:
    ran = run("learn", "t", "--shots", days / "one.pcap", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in one_line(ran.err)
    assert ThreatStore(home).names() == []


@pytest.mark.parametrize("name", ["UPPER", "../up", ".hidden", "a/b", "", "a" * 65, "a b", "a..b", "-x\x1b[31m"])
def test_names_that_cannot_be_folders(run: Run, days: Path, name: str) -> None:
    ran = run("learn", "--shots", days / "one.pcap", "--", name)
    assert ran.code == 2
    assert "\x1b" not in one_line(ran.err)


def test_a_home_without_rights(run: Run, days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KSHOT_HOME", str(tmp_path / "file"))
    ran = run("learn", "t", "--shots", days / "one.pcap", "--where", WHERE)
    assert ran.code == 2
    assert "cannot write" in one_line(ran.err)
