"""kshot reference: learned by name, used by kshot watch, listed and forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_runs import Run, one_line

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")


@pytest.mark.usefixtures("taught")
def test_from_a_day_with_a_tunnel_to_a_watch(run: Run, days: Path, tmp_path: Path) -> None:
    ran = run("reference", "build", "office", "--from", days / "one.pcap", "--days", 7)
    assert (ran.code, ran.out) == (0, "")
    assert "reference office: " in one_line(ran.err)
    listed = json.loads(run("reference", "list", "-o", "jsonl").out)
    assert listed["name"] == "office" and listed["taken_for_attacks"] >= 5
    assert "office" in run("reference", "list").out
    folder, lines = tmp_path / "dropped", tmp_path / "alerts.jsonl"
    folder.mkdir()
    (folder / "two.pcap").write_bytes((days / "two.pcap").read_bytes())
    watched = ("watch", "--captures", folder, "--reference", "office", "--duration", 8, "--output", lines)
    assert run(*watched).code == 0
    alerts = [json.loads(line) for line in lines.read_text().splitlines()]
    assert any(alert["responder"] == "198.51.100.8" and alert["calibrated"] == "site" for alert in alerts)
    more = run("reference", "build", "office", "--from", days / "two.pcap", "--add")
    assert more.code == 0
    again = json.loads(run("reference", "list", "-o", "jsonl").out)
    assert again["seen"] > listed["seen"] and again["of_alerts"] > 0
    assert run("reference", "remove", "office").code == 0
    assert "there are no references" in one_line(run("reference", "list").err)


def test_what_is_not_there_is_one_line(run: Run, days: Path) -> None:
    assert "there is no reference office" in one_line(run("reference", "remove", "office").err)
    assert "cannot name" in one_line(run("reference", "build", "../x", "--from", days / "one.pcap").err)
    assert "there is no reference x" in one_line(
        run("reference", "build", "x", "--add", "--from", days / "one.pcap").err
    )
