"""`kshot learn` and `kshot scan` with real files: the round trip, the promises, and every wrong input."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import polars as pl
import pytest
from cli_runs import Run, one_line

from kshot.cli.eve import signature_id
from kshot.records.alerts import ALERT_SCHEMA

TUNNEL = ("10.20.1.33", "198.51.100.8")

# Written from Suricata's user guide, "EVE JSON Format": common fields, and event type alert.
EVE_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["timestamp", "flow_id", "event_type", "src_ip", "dest_ip", "proto", "community_id", "alert"],
    "additionalProperties": False,
    "properties": {
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000$"},
        "flow_id": {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**53},
        "event_type": {"const": "alert"},
        "vlan": {"type": "array", "items": {"type": "integer"}},
        "src_ip": {"type": "string"},
        "src_port": {"type": "integer", "minimum": 0, "maximum": 65_535},
        "dest_ip": {"type": "string"},
        "dest_port": {"type": "integer", "minimum": 0, "maximum": 65_535},
        "proto": {"type": "string"},
        "icmp_type": {"type": "integer"},
        "icmp_code": {"type": "integer"},
        "community_id": {"type": "string", "pattern": "^1:"},
        "flow": {
            "type": "object",
            "required": ["pkts_toserver", "pkts_toclient", "bytes_toserver", "bytes_toclient", "start"],
            "additionalProperties": False,
            "properties": {
                "pkts_toserver": {"type": "integer"},
                "pkts_toclient": {"type": "integer"},
                "bytes_toserver": {"type": "integer"},
                "bytes_toclient": {"type": "integer"},
                "start": {"type": "string"},
            },
        },
        "alert": {
            "type": "object",
            "required": ["action", "gid", "signature_id", "rev", "signature", "category", "severity"],
            "additionalProperties": False,
            "properties": {
                "action": {"enum": ["allowed", "blocked"]},
                "gid": {"type": "integer"},
                "signature_id": {"type": "integer", "minimum": 1_000_000, "maximum": 1_999_999},
                "rev": {"type": "integer"},
                "signature": {"type": "string"},
                "category": {"type": "string"},
                "severity": {"type": "integer", "minimum": 1, "maximum": 4},
                "metadata": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
            },
        },
    },
}


@pytest.fixture
def alerts(run: Run, days: Path, taught: None) -> pl.DataFrame:
    ran = run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "-o", "jsonl")
    assert ran.code == 0
    return pl.read_ndjson(io.StringIO(ran.out))


def test_the_other_tunnel_is_found(alerts: pl.DataFrame) -> None:
    assert set(alerts.columns) == set(ALERT_SCHEMA)
    first = alerts.row(0, named=True)
    assert (first["originator"], first["responder"]) == TUNNEL
    assert first["threat"] == "dns-tunnel"
    assert first["attack"] == ["T1071.004"]
    assert first["calibrated"] == "site"
    assert len(first["reasons"]) == 3
    found = alerts.filter((pl.col("originator") == TUNNEL[0]) & (pl.col("responder") == TUNNEL[1]))["flows"].sum()
    assert found >= 13, "of 15 flows"
    others = alerts["flows"].sum() - found
    assert others <= 8, "of 700, at the attainable rate"


def test_a_small_reference_says_what_is_attainable(run: Run, days: Path, taught: None) -> None:
    ran = run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "--false-alarm-rate", "0.00001")
    assert ran.code == 0
    said = one_line(ran.err)
    assert said.startswith("a false-alarm rate of 1e-05 needs a larger reference")
    assert "is attainable and used" in said


def test_the_table_names_the_parties_and_the_reasons(run: Run, days: Path, taught: None) -> None:
    ran = run("scan", days / "two.pcap", "--reference", days / "benign.pcap")
    lines = ran.out.splitlines()
    assert lines[0].split()[:4] == ["threat", "originator", ">", "responder"]
    assert "p-value" in lines[0]
    assert "10.20.1.33 > 198.51.100.8" in lines[1]
    assert "of the reference" in ran.out
    assert "\x1b" not in ran.out


def test_without_a_reference_the_capture_calibrates_itself(run: Run, days: Path, taught: None) -> None:
    ran = run("scan", days / "two.pcap", "-o", "jsonl")
    assert ran.code == 0
    alerts = pl.read_ndjson(io.StringIO(ran.out))
    assert set(alerts["calibrated"]) == {"capture"}
    assert TUNNEL in set(alerts.select("originator", "responder").iter_rows())


def test_eve_follows_its_schema(run: Run, days: Path, taught: None) -> None:
    ran = run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "-o", "eve")
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert events
    for event in events:
        jsonschema.validate(event, EVE_SCHEMA)
    first = events[0]
    assert (first["src_ip"], first["dest_ip"], first["dest_port"], first["proto"]) == (*TUNNEL, 53, "UDP")
    alert = first["alert"]
    assert alert["signature"] == "kshot dns-tunnel: names carry data"
    assert alert["signature_id"] == signature_id("dns-tunnel")
    assert alert["severity"] == 1
    assert alert["metadata"]["mitre_technique_id"] == ["T1071.004"]


def test_verdicts_cover_every_record(run: Run, days: Path, taught: None, tmp_path: Path) -> None:
    arguments = ("scan", days / "two.pcap", "--reference", days / "benign.pcap", "-o", "jsonl")
    ran = run(*arguments, "--verdicts", tmp_path / "verdicts.csv")
    with (tmp_path / "verdicts.csv").open() as file:
        verdicts = list(csv.DictReader(file))
    flows = run("flows", days / "two.pcap", "-o", "csv").out.splitlines()
    assert len(verdicts) == len(flows) - 1
    assert [int(row["row"]) for row in verdicts] == list(range(1, len(flows)))
    alarmed = sum(row["alarm"] == "true" for row in verdicts)
    assert alarmed == pl.read_ndjson(io.StringIO(ran.out))["flows"].sum()


def test_fail_on_alert(run: Run, days: Path, taught: None) -> None:
    arguments = ("--reference", days / "benign.pcap", "--fail-on", "alert")
    assert run("scan", days / "two.pcap", *arguments).code == 3
    quiet = run("scan", days / "benign.pcap", *arguments, "--where", "resp_port = 123")
    assert quiet.code in (0, 2), quiet.err


def test_where_judges_only_what_it_chooses(run: Run, days: Path, taught: None) -> None:
    ran = run(
        "scan", days / "two.pcap", "--reference", days / "benign.pcap", "--where", "resp_port = 53", "-o", "jsonl"
    )
    assert ran.code == 0
    alerts = pl.read_ndjson(io.StringIO(ran.out))
    assert alerts.height
    flows = pl.read_csv(io.StringIO(run("flows", days / "two.pcap", "-o", "csv").out))
    assert set(flows[(alerts["first_record"] - 1).to_list()]["resp_port"]) == {53}


def test_flows_that_were_written_can_be_scanned(run: Run, days: Path, taught: None, tmp_path: Path) -> None:
    run("flows", days / "two.pcap", "--output", tmp_path / "two.parquet")
    arguments = ("--reference", days / "benign.pcap", "-o", "jsonl")
    assert run("scan", tmp_path / "two.parquet", *arguments).out == run("scan", days / "two.pcap", *arguments).out


def test_a_budget_of_alerts_bounds_the_rate(run: Run, days: Path, taught: None) -> None:
    said = run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "--alerts-per-day", "5").err
    assert one_line(said).startswith("5 alerts a day (a false-alarm rate of ")
    assert run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "--alerts-per-day", "5000").err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["two.pcap", "--threats", "absent"], "there is no threat named absent; see: kshot threats list"),
        (["two.pcap", "--threats", "dns-tunel"], "did you mean dns-tunnel?"),
        (["two.pcap", "--where", "resp_prt = 53"], "there is no column resp_prt; near it: resp_port"),
        (["two.pcap", "--where", "resp_port ="], "it must be a SQL condition"),
        (["two.pcap", "--where", "resp_port"], "not true or false"),
        (["two.pcap", "--where", "resp_port = 7"], "holds for none of the"),
        (["absent.pcap"], "absent.pcap: no such file"),
        (["two.pcap", "--reference", "absent.pcap"], "absent.pcap: no such file"),
        (["two.pcap", "table.csv"], "cannot be mixed"),
        (["two.pcap", "--reference", "table.csv"], "give a reference of the same kind"),
        (["table.csv"], "it was taught on flows, the input holds table rows"),
        (["text.pcap"], "is not a capture"),
        (["table.csv", "--alerts-per-day", "3", "--unknown", "--threats", "rows"], "needs times"),
    ],
)
def test_wrong_input_is_one_line(
    run: Run, days: Path, taught: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("two.pcap",):
        (tmp_path / name).symlink_to(days / name)
    (tmp_path / "text.pcap").write_text("hello there, this is text\n")
    rng = np.random.default_rng(0)
    pl.DataFrame({"a": rng.random(400), "b": rng.random(400)}).write_csv(tmp_path / "table.csv")
    if "rows" in arguments:
        assert (
            run("learn", "rows", "--shots", "table.csv", "--where", "a > 0.99 or b > 0.999", "--keep", "a,b").code == 0
        )
    ran = run("scan", *arguments, "--output", tmp_path / "out.csv")
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert said in one_line(ran.err)
    assert not (tmp_path / "out.csv").exists()


def test_nothing_taught_says_how_to(run: Run, days: Path) -> None:
    ran = run("scan", days / "two.pcap")
    assert ran.code == 2
    assert "kshot learn NAME" in one_line(ran.err)


def test_a_threat_that_does_not_fit_is_skipped_by_name(run: Run, days: Path, taught: None, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"size": rng.random(300), "depth": rng.random(300), "label": ["bad"] * 5 + ["ok"] * 295})
    frame.write_csv(tmp_path / "table.csv")
    assert run("learn", "rows", "--shots", tmp_path / "table.csv", "--where", "label = 'bad'").code == 0
    ran = run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "--false-alarm-rate", "0.01", "-o", "csv")
    assert ran.code == 0
    assert "threat rows is skipped: it was taught on table rows, the input holds flows" in ran.err
    assert "198.51.100.8" in ran.out


def test_unknown_needs_no_threat(run: Run, days: Path) -> None:
    ran = run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "--unknown", "-o", "jsonl")
    assert ran.code == 0, ran.err
    alerts = pl.read_ndjson(io.StringIO(ran.out))
    assert set(alerts["threat"]) == {"unknown"}
    assert alerts["attack"].list.len().sum() == 0


def test_a_torn_threat_does_not_blind_the_others(run: Run, days: Path, taught: None, home: Path) -> None:
    torn = home / "threats" / "torn"
    torn.mkdir()
    (torn / "threat.toml").write_text("format = 1\nname = 'to")
    ran = run("scan", days / "two.pcap", "--reference", days / "benign.pcap", "--false-alarm-rate", "0.01", "-o", "csv")
    assert ran.code == 2
    assert "threat.toml: is damaged" in ran.err
    assert "198.51.100.8" in ran.out
