"""A threat taught on packets is scanned for in Zeek's and Suricata's logs of the same traffic."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from benchmarks.logs import CONN_FIELDS, conn_records, eve_records, tab_lines
from cli_runs import Run

from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import ScanOptions, read_records, scan


@pytest.fixture(scope="session")
def logs(days: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """conn.log and eve.json of the second day, and benign.log of the first."""
    folder = tmp_path_factory.mktemp("logs")
    two = read_records([days / "two.pcap"], MeterOptions()).frame
    benign = read_records([days / "benign.pcap"], MeterOptions()).frame
    (folder / "conn.log").write_text("\n".join(tab_lines(conn_records(two), CONN_FIELDS, "conn")) + "\n")
    (folder / "eve.json").write_text("".join(json.dumps(event) + "\n" for event in eve_records(two)))
    (folder / "benign.log").write_text("\n".join(tab_lines(conn_records(benign), CONN_FIELDS, "conn")) + "\n")
    return folder


@pytest.mark.parametrize("name", ["conn.log", "eve.json"])
def test_logs_have_the_same_flows_as_the_capture(days: Path, logs: Path, name: str) -> None:
    packets = read_records([days / "two.pcap"], MeterOptions())
    told = read_records([logs / name], MeterOptions())
    assert told.kind == "flow"
    assert told.features.width < packets.features.width
    same = [
        "originator",
        "responder",
        "orig_port",
        "resp_port",
        "protocol",
        "orig_packets",
        "resp_packets",
        "conn_state",
    ]
    assert told.frame.select(same).equals(packets.frame.select(same))
    assert (told.frame["conn_state"] == packets.frame["conn_state"]).mean() > 0.98
    if name == "conn.log":
        payload = pl.col("payload_bytes_from_orig", "payload_bytes_from_resp", "ip_bytes_from_orig")
        assert told.features.select(payload).equals(packets.features.select(payload))


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("name", ["conn.log", "eve.json"])
def test_a_threat_taught_on_packets_is_found_in_logs(run: Run, logs: Path, name: str) -> None:
    ran = run("scan", logs / name, "--reference", logs / "benign.log", "--format", "jsonl")
    assert ran.code in (0, 1), ran.err
    assert "judged by what connection logs tell only" in ran.err
    assert "dns-tunnel" in ran.err
    assert any("198.51.100.8" in line for line in ran.out.splitlines()), ran.out


@pytest.mark.usefixtures("taught")
def test_damaged_lines_are_told_and_make_the_exit_code(run: Run, logs: Path, tmp_path: Path) -> None:
    torn = tmp_path / "conn.log"
    torn.write_text((logs / "conn.log").read_text()[:-200])
    ran = run("scan", torn)
    assert ran.code == 2
    assert "has" in ran.err
    assert "1 of" in ran.err
    assert "is damaged" not in ran.out


def test_verdicts_agree_with_those_on_the_capture_at_the_same_tier(days: Path, logs: Path, taught_once: Path) -> None:
    from kshot.store import ThreatStore

    threats = [ThreatStore(taught_once).load("dns-tunnel")]
    options = ScanOptions(false_alarm_rate=0.01)
    reference = read_records([logs / "benign.log"], MeterOptions())
    alarms = [
        scan(read_records([path], MeterOptions()), threats, reference=reference, options=options).verdicts["alarm"]
        for path in (days / "two.pcap", logs / "conn.log", logs / "eve.json")
    ]
    assert (alarms[0] == alarms[1]).mean() >= 0.99
    assert (alarms[0] == alarms[2]).mean() >= 0.95


@pytest.mark.usefixtures("taught")
def test_inputs_of_several_kinds_are_refused(run: Run, days: Path, logs: Path, tmp_path: Path) -> None:
    assert "cannot be mixed" in run("scan", logs / "conn.log", days / "one.pcap").err
    assert "is a folder without logs" in run("scan", tmp_path).err


def test_a_threat_is_taught_on_logs_and_with_a_reference_of_packets(run: Run, days: Path, logs: Path) -> None:
    where = ("--where", "responder = '198.51.100.8'", "--max-shots", "5")
    ran = run("learn", "logged", "--shots", logs / "conn.log", "--reference", days / "benign.pcap", *where)
    assert ran.code == 0, ran.err
    ran = run("scan", days / "one.pcap", "--reference", logs / "benign.log", "--format", "jsonl")
    assert ran.code in (0, 1), ran.err
    assert any("203.0.113.7" in line for line in ran.out.splitlines()), ran.out
