"""Labelled captures as tables: by verdict or by ground truth, the capture as group; mistakes."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.traffic import Traffic, Tunnel, office, tunnel

from kshot.bench import PROTOCOLS, cells_of
from kshot.bench.captures import captures_table
from kshot.bench.tables import load_tables
from kshot.episodes import BENIGN, TaskShape, headline_episodes
from kshot.errors import UserError
from kshot.stream.metering import MeterOptions
from kshot.stream.reading import Records, read_records

DAY = 1_772_438_400.0
SHOWN = Tunnel("10.20.1.17", "203.0.113.7", "t.example.org", 16, (90, 150), (60, 200), (25, 60), 0.08, 12)
FAMILY = "dns-tunnel"
HEAD = "start,end,originator,orig_port,responder,resp_port,protocol,label,tool,threat,part"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with the same tunnel in them; the one that was recorded first has the later name."""
    folder = tmp_path_factory.mktemp("site")
    for day, name in enumerate(("run-b", "run-a")):
        traffic = Traffic(Random(day))
        office(traffic, DAY + day * 86_400, 1_800.0, 200)
        tunnel(traffic, DAY + day * 86_400, 1_800.0, SHOWN)
        (folder / name).mkdir()
        traffic.write(folder / name / "capture.pcap")
        (folder / name / "truth.csv").write_text(truth_of(metered(folder, name)))
    return folder


def metered(folder: Path, name: str) -> Records:
    return read_records([folder / name / "capture.pcap"], MeterOptions())


def truth_of(records: Records) -> str:
    """What the range would write: every connection, the tunnel's an attack but for one, which is only its answer."""

    def seconds(nanoseconds: int) -> str:
        micro = nanoseconds // 1000
        return f"{micro // 10**6}.{micro % 10**6:06d}"

    ends = ("originator", "orig_port", "responder", "resp_port", "protocol")
    lines, tunnels = [HEAD], 0
    frame = records.frame
    times = zip(frame["first_time"].dt.epoch("ns"), frame["last_time"].dt.epoch("ns"), strict=True)
    for row, (first, last) in zip(frame.select(ends).iter_rows(), times, strict=True):
        label, part = BENIGN, ""
        if row[2] == SHOWN.resolver:
            label, part = FAMILY, "attack" if tunnels else "answer"
            tunnels += 1
        told = ",".join(str(cell) for cell in row)
        lines.append(f"{seconds(first)},{seconds(last)},{told},{label},,{'' if label == BENIGN else label},{part}")
    return "\n".join(lines) + "\n"


def test_runs_stand_in_the_order_of_time_and_no_split_cuts_one(runs: Path) -> None:
    table, left_out = captures_table(runs)
    assert (table.name, table.corpus, table.families, left_out) == (runs.name, runs.name, (FAMILY,), [])
    assert table.group_names == ("run-b", "run-a"), "as they were recorded"
    tunnels = [int(metered(runs, name).frame["responder"].eq(SHOWN.resolver).sum()) for name in ("run-b", "run-a")]
    assert 0 < len(table.rows_of(FAMILY)) <= sum(tunnels) - 2, "what only answers the attacker is left out"
    shape = TaskShape(n_reference=60, k_shot=2, split="blocked", least_family_rows=10, least_benign_rows=120)
    (episode,) = headline_episodes([table], shape, 1)
    assert table.groups is not None
    assert set(table.groups[episode.shot_rows]) == set(table.groups[episode.reference_rows]) == {0}
    assert set(table.groups[episode.query_rows]) == {1}


def test_captures_by_verdict(runs: Path) -> None:
    labels = runs / "labels.csv"
    labels.write_text(
        "path,verdict,family\n"
        f"{runs.name}/run-a/capture.pcap,benign,\n"
        "run-b/capture.pcap,malicious,mixed-up\n"
        "run-b/capture.pcap,unclear,\n"
        "empty.pcap,benign,\n"
    )
    (runs / "empty.pcap").write_bytes((runs / "run-a/capture.pcap").read_bytes()[:24])
    try:
        table, left_out = captures_table(runs)
    finally:
        labels.unlink()
    assert table.families == ("mixed-up",) and len(table.rows_of(BENIGN)) > 100
    assert left_out[0] == "run-b/capture.pcap (verdict unclear)"
    assert left_out[1].startswith("empty.pcap (") and len(left_out) == 2


def test_packets_are_asked_of_captures_alone(runs: Path) -> None:
    loaded = load_tables([], [], ["dns_entropy_bits"], reference=False, captures=[runs])
    assert loaded.captured == {runs.name} == set(loaded.tables)
    table = loaded.tables[runs.name]
    assert "dns_entropy_bits" not in table.features.columns
    assert len(table.features.unique()) <= len(table)
    cells = cells_of(PROTOCOLS["packets"], [table], [1], 1, ["blocked"], skipped := [])
    assert not cells and "benign rows, 1,500 are needed" in skipped[0].reason


@pytest.mark.parametrize(("files", "said"), [
    ({}, "holds neither labels.csv (path, verdict, family) nor folders with a capture and truth.csv"),
    ({"labels.csv": "path,verdict\na,benign\n"}, "labels.csv: has no column family; it needs path, verdict, family"),
    ({"labels.csv": "path,verdict,family\ngone.pcap,benign,\n"}, "labels.csv:2: there is no capture gone.pcap"),
    ({"labels.csv": "path,verdict,family\nlabels.csv,benign,\n"}, "labels.csv:2: labels.csv is no capture; take out"),
    ({"labels.csv": "path,verdict,family\n"}, "no labelled flow is in its captures"),
    ({"one/truth.csv": HEAD}, "one: holds 0 captures beside truth.csv; one is needed"),
])  # fmt: skip
def test_a_mistake_is_one_line(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as refused:
        captures_table(tmp_path)
    assert said in str(refused.value) and str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: is no folder of labelled captures"):
        captures_table(tmp_path / "absent")
