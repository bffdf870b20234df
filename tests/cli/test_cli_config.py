"""A configuration: file under environment under flags, a line a mistake, HUP reads it anew."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_runs import Run, one_line

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")
pytest.importorskip("pydantic_settings", reason="a configuration file needs pip install 'kshot[watch]'")

from kshot.cli.settings import read_settings
from kshot.store.threats import ThreatStore


def written(folder: Path, text: str) -> Path:
    path = folder / "kshot.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[watch\n", "is no TOML"),
        ("[watch]\nzeke = '/x'\n", "watch.zeke is no setting; did you mean zeek"),
        ("[wotch]\n", "wotch is no setting; did you mean watch"),
        ("[watch]\nalerts_per_day = 'many'\n", "watch.alerts_per_day should be a valid number"),
        ("[watch]\nfalse_alarm_rate = 2\n", "watch.false_alarm_rate should be less than 1, not 2"),
        ("[watch]\nkeep_alerts = 'long'\n", "watch.keep_alerts give a length of time such as 90d, not 'long'"),
        ("[watch]\nthreats = 'one'\n", "watch.threats should be a valid list, not 'one'"),
        (
            "[watch]\nsegment = ['x=10.1.0.0/33']\n",
            "watch.segment segment x: '10.1.0.0/33' is no network; give one such",
        ),
        ("[watch]\nzeek = 'a'\neve = 'b'\n", "watch.eve beside watch.zeek: a watch follows one source"),
        ("[watch]\nalerts_per_day = 5\nfalse_alarm_rate = 0.1\n", "they say the same thing; give one"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(run: Run, tmp_path: Path, text: str, said: str) -> None:
    path = written(tmp_path, text)
    for verb in (("config", "check", path), ("watch", "--config", path)):
        ran = run(*verb)
        assert (ran.code, ran.out) == (2, "")
        assert said in one_line(ran.err) and str(path) in ran.err


def test_a_check_tells_of_every_mistake(run: Run, tmp_path: Path) -> None:
    ran = run("config", "check", written(tmp_path, "[watch]\nring = 0\nduration = -1\nzeke = 1\n"))
    assert ran.code == 2
    assert [line.split()[2] for line in ran.err.splitlines()] == ["watch.duration", "watch.ring", "watch.zeke"]
    assert "(and 2 more" in one_line(run("watch", "--config", tmp_path / "kshot.toml").err)
    good = run("config", "check", written(tmp_path, "[watch]\neve = 'x'\n"))
    assert (good.code, "is good: eve" in one_line(good.err)) == (0, True)
    assert "no such file" in one_line(run("config", "check", tmp_path / "none.toml").err)


def test_flags_go_before_the_environment_and_that_before_the_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, "[watch]\nzeek = '/nowhere/file'\nthreats = ['a', 'b']\nmetrics = 'no'\n")
    assert read_settings(path) == {"zeek": Path("/nowhere/file"), "threats": ["a", "b"], "metrics": "no"}
    assert "/nowhere/file: is no folder" in one_line(run("watch", "--config", path).err)
    monkeypatch.setenv("KSHOT_WATCH__ZEEK", "/nowhere/environment")
    assert "/nowhere/environment: is no folder" in one_line(run("watch", "--config", path).err)
    assert "/nowhere/environment: is no folder" in one_line(run("watch").err)
    assert "/nowhere/flag: is no folder" in one_line(run("watch", "--zeek", "/nowhere/flag").err)
    monkeypatch.setenv("KSHOT_WATCH__RING", "none")
    assert "the environment: watch.ring should be a valid integer" in one_line(run("watch").err)


def said(child: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The next line of the log about `event`."""
    assert child.stderr is not None
    for line in child.stderr:
        told: dict[str, Any] = json.loads(line)
        if told["event"] == event:
            return told
        assert told["event"] != "reload_refused", told
    raise AssertionError(f"it ended without {event}")


@pytest.mark.slow  # a start of the program, and what it learns
@pytest.mark.usefixtures("taught")
def test_hup_reads_anew_and_refuses_what_is_bad(days: Path, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dropped"
    folder.mkdir()
    text = f"[watch]\ncaptures = '{folder}'\nreference = ['{days / 'benign.pcap'}']\nbatch_seconds = 0.1\n"
    path = written(tmp_path, text + "threats = ['dns-tunnel']\n")
    child = subprocess.Popen(
        [sys.executable, "-m", "kshot", "watch", "--config", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    try:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        written(tmp_path, text + "zeke = 'x'\n")
        child.send_signal(signal.SIGHUP)
        refused = said(child, "reload_refused")
        assert "watch.zeke is no setting" in refused["why"]
        written(tmp_path, text + "threats = ['nothing']\n")
        child.send_signal(signal.SIGHUP)
        assert "nothing" in said(child, "reload_refused")["why"]
        store = ThreatStore(home)
        store.save(replace(store.load("dns-tunnel"), name="our-tunnel"))
        segment = f"segment = ['{days / 'benign.pcap'}=10.20.1.0/24']\n"
        written(tmp_path, text + segment.replace("10.20.1.0/24", "172.16.0.0/12"))
        child.send_signal(signal.SIGHUP)
        assert "lies in 172.16.0.0/12" in said(child, "reload_refused")["why"]
        written(tmp_path, text + segment + "threats = ['our-tunnel']\nmetrics = '9'\n")
        child.send_signal(signal.SIGHUP)
        assert said(child, "reloaded")["after_a_restart"] == ["metrics"]
        shutil.copy(days / "two.pcap", folder)
        old = time.time() - 60
        os.utime(folder / "two.pcap", (old, old))
        assert said(child, "adapted")["seconds"] >= 0
        alert = said(child, "alert")
        assert alert["threat"] == "our-tunnel" and alert["segment"] == str(days / "benign.pcap")
        child.send_signal(signal.SIGTERM)
        assert said(child, "stopped")["flows_shed"] == 0
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.communicate()
