"""Ground truth beside a capture: read, joined to flows, counted; and that of the shipped captures."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import kshot
from kshot.errors import InputError
from kshot.report import read_truth, tallies, truth_of
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import read_records

CAPTURES = Path(kshot.__file__).parent / "content" / "captures"
HEAD = "first_time,originator,orig_port,responder,resp_port,protocol,threat,tool,part\n"


def flows(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "first_time": [f"2026-01-01T00:00:{second}" for second, _ in rows],
            "originator": ["10.0.0.1"] * len(rows),
            "orig_port": [port for _, port in rows],
            "responder": ["10.0.0.2"] * len(rows),
            "resp_port": [22] * len(rows),
            "protocol": [6] * len(rows),
        },
        schema_overrides={"orig_port": pl.UInt16, "resp_port": pl.UInt16, "protocol": pl.UInt8},
    ).with_columns(pl.col("first_time").str.to_datetime(time_unit="ns", time_zone="UTC"))


def test_a_flow_belongs_to_the_row_of_its_numbers_and_time(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(HEAD + "2026-01-01T00:00:01.000000Z,10.0.0.1,5,10.0.0.2,22,6,ssh,hydra,attack\n")
    told = truth_of(flows(("09.0", 5), ("01.0000004", 5), ("01.0", 6)), read_truth(path))
    assert told["threat"].to_list() == ["", "ssh", ""]
    assert told["tool"].to_list() == ["", "hydra", ""]


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", HEAD + "when,10.0.0.1,5,10.0.0.2,22,6,ssh,hydra,attack\n"])
def test_a_file_that_is_no_truth_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="is no ground truth") as refused:
        read_truth(path)
    assert "\n" not in str(refused.value)


def test_tallies_count_attacks_benign_and_neither() -> None:
    truth = pl.DataFrame(
        {
            "threat": ["ssh", "ssh", "ssh", "", "", "scan"],
            "tool": ["hydra", "medusa", "hydra", "", "", "nmap"],
            "part": ["attack", "attack", "answer", "", "", "attack"],
        }
    )
    alarm, before = np.array([1, 0, 1, 1, 0, 1], bool), np.array([0, 0, 0, 1, 1, 0], bool)
    names = pl.Series(["ssh", "ssh", "ssh", "ssh", "ssh", "ssh"])
    rows = {row.threat: row for row in tallies(truth, alarm, names, before)}
    assert (rows["ssh"].flows, rows["ssh"].alarmed, rows["ssh"].named, rows["ssh"].alarmed_before) == (2, 1, 1, 0)
    assert rows["ssh"].tools == ("hydra", "medusa")
    assert (rows["scan"].flows, rows["scan"].alarmed, rows["scan"].named) == (1, 1, 0)
    assert (rows[""].flows, rows[""].alarmed, rows[""].alarmed_before) == (2, 1, 2)


def test_the_truth_of_the_shipped_captures_is_of_their_flows() -> None:
    about = tomllib.loads((CAPTURES / "captures.toml").read_text())
    both = read_records([CAPTURES / "quiet.pcap.xz", CAPTURES / "find.pcap.xz"], MeterOptions())
    normal = both.frame["first_time"] < about["find"]["begins"]
    learn = read_records([CAPTURES / "learn.pcap.xz"], MeterOptions())
    for name, frame in (("learn", learn.frame), ("find", both.frame.filter(~normal))):
        truth = read_truth(CAPTURES / f"{name}.truth.csv")
        told = truth_of(frame, truth)
        counts = dict(told["threat"].replace({"": "benign"}).value_counts().iter_rows())
        assert counts == about[name]["flows"]
        assert (told["threat"] != "").sum() == truth.height, "every row of the truth is a flow's"
    assert not both.metering.damage and not learn.metering.damage


def test_the_shipped_captures_are_small() -> None:
    assert sum(path.stat().st_size for path in CAPTURES.iterdir()) < 4_000_000
