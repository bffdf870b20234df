"""The threats that ship with kshot, from the command line: listed, overridden, handed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import Run, one_line

from kshot.store import ThreatStore, builtin_names, builtin_threat

pytestmark = pytest.mark.usefixtures("shipped")


def test_built_in_threats_are_listed_beside_taught_ones(run: Run, taught: None) -> None:
    listed = [json.loads(line) for line in run("threats", "list", "-o", "jsonl").out.splitlines()]
    assert [row["name"] for row in listed] == builtin_names()
    assert {row["name"] for row in listed if row["origin"] == "taught"} == {"dns-tunnel"}


def test_a_built_in_threat_is_shown_and_cannot_be_removed(run: Run) -> None:
    shown = run("threats", "show", "port-scan")
    assert shown.code == 0
    assert "built-in" in shown.out
    assert "T1046" in shown.out
    removed = run("threats", "remove", "port-scan")
    assert removed.code == 2
    assert "built in" in one_line(removed.err)


def test_a_scan_looks_for_built_in_threats_and_promises_nothing(run: Run, days: Path) -> None:
    ran = run("scan", days / "two.pcap", "-o", "jsonl")
    assert ran.code == 0
    assert "measured on kshot's laboratory" in ran.err
    alerts = [json.loads(line) for line in ran.out.splitlines()]
    tunnels = [alert for alert in alerts if alert["threat"] == "dns-tunnel"]
    assert tunnels
    assert {alert["responder"] for alert in tunnels} == {"198.51.100.8"}
    assert {(alert["calibrated"], alert["p_value"]) for alert in alerts} == {("none", None)}
    assert all(alert["reasons"] for alert in alerts)
    assert alerts[0]["threat"] == "dns-tunnel"
    assert len(alerts) < 40


def test_only_the_named_built_in_threat_is_looked_for(run: Run, days: Path) -> None:
    ran = run("scan", days / "two.pcap", "--threats", "dns-tunnel", "-o", "jsonl", "--fail-on", "alert")
    assert ran.code == 3
    assert {json.loads(line)["threat"] for line in ran.out.splitlines()} == {"dns-tunnel"}


def test_a_built_in_threat_may_be_added_to(run: Run, days: Path, home: Path) -> None:
    where = ("--where", "responder = '203.0.113.7'", "--max-shots", "5", "--quiet")
    assert run("learn", "dns-tunnel", "--add", "--shots", days / "one.pcap", *where).code == 0
    own = ThreatStore(home).load("dns-tunnel")
    assert own.shots.height == builtin_threat("dns-tunnel").shots.height + 5
    assert "T1071.004" in own.attack


def test_tables_are_not_scanned_for_threats_of_flows(run: Run, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("size,label\n" + "".join(f"{k},ok\n" for k in range(50)))
    ran = run("scan", tmp_path / "table.csv")
    assert ran.code == 2
    assert "no threat has been taught" in one_line(ran.err)


@pytest.mark.parametrize("target", ["ours.zip", "ours"])
def test_threats_are_handed_on(
    run: Run, taught: None, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    bundle = tmp_path / target
    assert run("threats", "export", "dns-tunnel", "port-scan", "--output", bundle).code == 0
    there = tmp_path / "there"
    monkeypatch.setenv("KSHOT_HOME", str(there))
    assert run("threats", "import", bundle).code == 0
    for name in ("dns-tunnel", "port-scan"):
        assert ThreatStore(there).load(name).shots.height
    assert ThreatStore(there).load("dns-tunnel").shots.equals(ThreatStore(home).load("dns-tunnel").shots)
    again = run("threats", "import", bundle)
    assert again.code == 2
    assert "--replace" in one_line(again.err)
    assert run("threats", "import", bundle, "--replace").code == 0
