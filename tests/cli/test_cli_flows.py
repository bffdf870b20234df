"""`kshot flows` with real files: every format, every ending."""

from __future__ import annotations

import json
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from cli_runs import Run, one_line

from kshot.records.flows import FLOW_SCHEMA
from kshot.stream.flowtables import as_flows
from kshot.stream.metering import COUNTERS

STATS = set(COUNTERS) | {"captures"}


def test_every_format_holds_the_same_flows(run: Run, days: Path, tmp_path: Path) -> None:
    for form in ("jsonl", "csv", "parquet"):
        ran = run("flows", days / "one.pcap", "--output", tmp_path / f"flows.{form}")
        assert (ran.code, ran.out, ran.err) == (0, "", "")
    parquet = pl.read_parquet(tmp_path / "flows.parquet")
    assert dict(parquet.schema) == FLOW_SCHEMA
    assert parquet.height > 700
    from kshot.sources.tables import read_table

    for form in ("jsonl", "csv"):
        back = as_flows(read_table(tmp_path / f"flows.{form}"))
        assert back is not None
        exact = [name for name, dtype in FLOW_SCHEMA.items() if not dtype.is_float() and dtype != pl.List(pl.Float32)]
        assert back.select(exact).equals(parquet.select(exact))


def test_stdout_takes_what_a_file_takes(run: Run, days: Path, tmp_path: Path) -> None:
    run("flows", days / "one.pcap", "--output", tmp_path / "flows.csv")
    ran = run("flows", days / "one.pcap", "-o", "csv")
    assert ran.out == (tmp_path / "flows.csv").read_text()


def test_the_table_is_for_people(run: Run, days: Path) -> None:
    lines = run("flows", days / "one.pcap").out.splitlines()
    assert lines[0].split() == "first seen seconds proto originator responder state packets payload bytes".split()
    assert any("10.20.1.17:" in line and "203.0.113.7:53" in line and " UDP " in line for line in lines)
    starts = {line.index("10.20.") for line in lines[1:] if "10.20." in line[:60]}
    assert len(starts) == 1, "columns stand in line"


def test_stats_account_for_every_packet(run: Run, days: Path, tmp_path: Path) -> None:
    assert run("flows", days / "one.pcap", "--stats", tmp_path / "stats.json").code == 0
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert set(stats) == STATS
    parts = ("metered", "non_ip", "malformed", "truncated", "shed")
    assert stats["packets_read"] == sum(stats[name] for name in parts) > 1_000
    assert stats["captures"][0]["damage"] is None


def test_timeouts_cut_flows(run: Run, days: Path, tmp_path: Path) -> None:
    heights = []
    for seconds in ("1800", "1"):
        run("flows", days / "one.pcap", "--active-timeout", seconds, "--output", tmp_path / "flows.parquet")
        heights.append(pl.read_parquet(tmp_path / "flows.parquet").height)
    assert heights[1] > heights[0]


def test_captures_that_follow_each_other_are_one_stream(run: Run, days: Path, tmp_path: Path) -> None:
    data = (days / "one.pcap").read_bytes()
    at = 24
    for _ in range(2_000):
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    (tmp_path / "a.pcap").write_bytes(data[:at])
    (tmp_path / "b.pcap").write_bytes(data[:24] + data[at:])
    whole = run("flows", days / "one.pcap", "-o", "csv").out
    assert run("flows", tmp_path / "a.pcap", tmp_path / "b.pcap", "-o", "csv").out == whole
    apart = run("flows", tmp_path / "b.pcap", tmp_path / "a.pcap", "-o", "csv").out
    assert len(apart.splitlines()) >= len(whole.splitlines())


def test_cut_in_mid_packet_gives_what_is_whole_and_says_so(run: Run, days: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pcap").write_bytes((days / "one.pcap").read_bytes()[:50_000])
    ran = run("flows", tmp_path / "cut.pcap", "--output", tmp_path / "flows.csv", "--stats", tmp_path / "stats.json")
    assert ran.code == 2
    assert "cut in the middle of packet" in one_line(ran.err)
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["captures"][0]["damage"] in ran.err
    assert len((tmp_path / "flows.csv").read_text().splitlines()) == stats["flows"] + 1


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"hello, world, and more of it\n", "is not a capture")]
)
def test_what_is_no_capture(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.pcap").write_bytes(content)
    ran = run("flows", tmp_path / "x.pcap", "--output", tmp_path / "flows.csv")
    assert (ran.code, ran.out) == (2, "")
    assert said in one_line(ran.err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pcap"]


def test_a_wrong_file_among_many_is_told_before_anything_is_metered(run: Run, days: Path, tmp_path: Path) -> None:
    ran = run("flows", days / "one.pcap", tmp_path / "absent.pcap", "-o", "csv")
    assert (ran.code, ran.out) == (2, "")
    assert "absent.pcap: no such file" in one_line(ran.err)


@pytest.mark.parametrize("form", ["table", "csv", "jsonl", "parquet"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(run: Run, days: Path, form: str) -> None:
    ran = run("flows", days / "one.pcap", "-o", form, "--output", "/dev/full")
    assert ran.code == 2
    assert "No space left" in one_line(ran.err)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_that_cannot_grow_leaves_the_old_one(days: Path, tmp_path: Path, form: str) -> None:
    target = tmp_path / f"flows.{form}"
    target.write_text("old")
    ran = subprocess.run(
        [sys.executable, "-m", "kshot", "flows", days / "one.pcap", "--output", target],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ran.returncode == 2, ran.stderr
    assert "too large" in one_line(ran.stderr).lower()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == [target.name]


def test_no_such_folder_for_the_output(run: Run, days: Path, tmp_path: Path) -> None:
    ran = run("flows", days / "one.pcap", "--output", tmp_path / "nowhere" / "flows.csv")
    assert ran.code == 2
    assert "make the folder first" in one_line(ran.err)
