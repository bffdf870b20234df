"""Ground truth by connection: which flow is of which; what no row knows stays null."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from kshot.datasets.truth import label_flows, read_connections
from kshot.errors import InputError

HEAD = "start,end,originator,orig_port,responder,resp_port,protocol,label"
FLOWS = {
    "originator": pl.String, "responder": pl.String, "orig_port": pl.UInt16, "resp_port": pl.UInt16,
    "protocol": pl.UInt8, "first_time": pl.Datetime("ns", "UTC"), "last_time": pl.Datetime("ns", "UTC"),
}  # fmt: skip


def when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def flows(*rows: tuple[str, str, int, int, int, float, float]) -> pl.DataFrame:
    told = [(*row[:5], when(row[5]), when(row[6])) for row in rows]
    return pl.DataFrame(told, schema=FLOWS, orient="row")


def test_a_flow_belongs_to_the_connection_whose_time_it_shares_most_of(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(
        f"{HEAD}\n"
        "100.000000,120.000000,10.0.0.1,5000,10.0.0.2,80,6,worm\n"
        "120.000000,180.000000,10.0.0.1,5000,10.0.0.2,80,6,benign\n"
        "100.000000,100.500000,10.0.0.1,8,10.0.0.2,0,1,benign\n"
    )
    told = label_flows(
        flows(
            ("10.0.0.1", "10.0.0.2", 5000, 80, 6, 101.0, 119.0),
            ("10.0.0.2", "10.0.0.1", 80, 5000, 6, 130.0, 150.0),  # a meter that missed the beginning turns it
            ("10.0.0.1", "10.0.0.2", 5000, 80, 6, 119.5, 150.0),
            ("10.0.0.1", "10.0.0.2", 8, 0, 1, 100.1, 100.2),
            ("10.0.0.1", "10.0.0.2", 5000, 80, 6, 400.0, 401.0),
            ("10.0.0.1", "10.0.0.3", 5000, 80, 6, 101.0, 119.0),
        ),
        read_connections(path),
    )
    assert told["label"].to_list() == ["worm", "benign", "benign", "benign", None, None]
    assert told["connection"].to_list() == [0, 1, 1, 2, None, None]
    assert told["part"].to_list()[:2] == ["", ""], "columns that the file lacks are empty"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", f"{HEAD}\nnever,1.000000,a,1,b,2,6,worm\n"])
def test_what_is_no_ground_truth_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=r"truth.csv: is no ground truth .*it needs columns start, end, originator"):
        read_connections(path)
