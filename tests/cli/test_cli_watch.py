"""kshot watch and kshot alerts as used: ready, a graceful end, statistics, alerts, labels."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cli_runs import Run, one_line

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")

from kshot.cli.metrics import metrics_text, serve_metrics


@pytest.fixture
def dropped(days: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "dropped"
    folder.mkdir()
    shutil.copy(days / "two.pcap", folder)
    old = time.time() - 60
    os.utime(folder / "two.pcap", (old, old))
    return folder


@pytest.mark.usefixtures("taught")
def test_from_a_dropped_capture_to_a_label_and_back(run: Run, days: Path, dropped: Path, tmp_path: Path) -> None:
    stats, lines = tmp_path / "stats.json", tmp_path / "alerts.jsonl"
    reference = ("--reference", days / "benign.pcap")
    ran = run(
        "watch", "--captures", dropped, *reference, "--duration", 8, "--stats", stats, "--output", lines, "--metrics", 0
    )
    assert (ran.code, ran.out) == (0, "ready\n")
    events = [json.loads(line)["event"] for line in ran.err.splitlines()]
    assert events[-1] == "stopped" and "alert" in events
    told = json.loads(stats.read_text())
    assert told["flows_scored"] == told["flows_metered"] == told["source"]["flows"] > 100
    assert (told["flows_shed"], told["lag_bytes"]) == (0, 0)
    assert told["packets_read"] == told["source"]["metered"] + told["source"]["non_ip"]
    alerts = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(alerts) == told["alerts"]
    number = next(alert["id"] for alert in alerts if alert["responder"] == "198.51.100.8")
    listed = json.loads(run("alerts", "list", "-o", "jsonl", "--last", 1000).out.splitlines()[-1])
    assert listed["threat"] == "dns-tunnel"
    assert "198.51.100.8" in run("alerts", "show", number).out
    previewed = run("alerts", "label", number, "false-positive", "--preview", *reference)
    assert (
        previewed.code == 0 and "would not have been" in previewed.out and f"    {number}: dns-tunnel" in previewed.out
    )
    assert (
        "would also be of this threat"
        in run("alerts", "label", number, "malicious", "--preview", "--threat", "ours", *reference).out
    )
    assert "false-positive" not in run("alerts", "show", number).out, "a preview changes nothing"
    check_suppressions(run, number)
    assert run("alerts", "label", number, "false-positive", "--note", "the \x1b[31mresolver").code == 0
    shown = run("alerts", "show", number).out
    assert "false-positive of dns-tunnel" in shown and "\x1b" not in shown
    assert run("alerts", "undo", number).code == 0
    assert "taken back" in run("alerts", "show", number).out
    assert "no label to take back" in one_line(run("alerts", "undo", number).err)
    open_ones = len(run("alerts", "list", "--open", "-o", "jsonl").out.splitlines())
    assert "alerts are deleted" in one_line(run("alerts", "purge", "--older-than", "1m").err)
    assert len(run("alerts", "list", "-o", "jsonl").out.splitlines()) == open_ones


def check_suppressions(run: Run, number: int) -> None:
    assert "suppress everything" in one_line(run("alerts", "suppress").err)
    assert "neither an address" in one_line(run("alerts", "suppress", "--responder", "host").err)
    assert "is no time" in one_line(run("alerts", "suppress", "--threat", "x", "--until", "soon").err)
    assert "nothing is suppressed" in one_line(run("alerts", "suppressions").err)
    scope = (
        "--threat",
        "dns-tunnel",
        "--originator",
        "10.20.1.33",
        "--responder",
        "198.51.100.0/24",
        "--until",
        "2030-01-01",
    )
    assert "suppression 1: 1 alert of the past marked" in one_line(run("alerts", "suppress", *scope).err)
    assert "suppressed by 1" in run("alerts", "show", number).out
    listed = [json.loads(line) for line in run("alerts", "list", "-o", "jsonl").out.splitlines()]
    heard = [json.loads(line) for line in run("alerts", "list", "--unsuppressed", "-o", "jsonl").out.splitlines()]
    assert {one["id"] for one in listed} - {one["id"] for one in heard} == {number}
    assert json.loads(run("alerts", "suppressions", "-o", "jsonl").out)["responder"] == "198.51.100.0/24"
    assert "198.51.100.0/24" in run("alerts", "suppressions").out
    assert run("alerts", "unsuppress", 1).code == 0
    assert "suppressed" not in run("alerts", "show", number).out


@pytest.mark.usefixtures("taught")
def test_a_term_is_a_graceful_end(days: Path, dropped: Path, home: Path) -> None:
    flags = ["--captures", str(dropped), "--reference", str(days / "benign.pcap"), "--threats", "dns-tunnel"]
    child = subprocess.Popen(
        [sys.executable, "-m", "kshot", "watch", *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 0
    assert json.loads(err.splitlines()[-1])["event"] == "stopped"
    assert (home / "watch.sqlite").stat().st_mode & 0o077 == 0


def test_an_empty_store_says_so(run: Run) -> None:
    ran = run("alerts", "list")
    assert (ran.code, ran.out) == (0, "")
    assert "there are no alerts" in one_line(ran.err)


def test_metrics_are_served_and_nothing_else() -> None:
    import threading

    server = serve_metrics(lambda: {"alerts": 3, "queued": 1, "source": {"bad_lines": 2}}, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    at = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(f"{at}/metrics") as answer:
            assert answer.read().decode() == metrics_text({"alerts": 3, "queued": 1, "source": {"bad_lines": 2}})
        with urllib.request.urlopen(f"{at}/healthz") as answer:
            assert answer.read() == b"ok\n"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{at}/etc/passwd")
        caught.value.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
