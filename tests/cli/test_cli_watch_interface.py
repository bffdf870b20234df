"""kshot watch and kshot flows on an interface: rights, INT, exact counts, an interface that goes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_runs import one_line

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")

from benchmarks.veth import FAR, Frames, Wire, why_not

WHY_NOT = why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "a wire can be made")
PATIENCE_SECONDS = 120.0


def scan(count: int) -> Frames:
    """SYNs from one host to as many ports of another, and the resets that come back."""
    frames = []
    for port in range(1, count + 1):
        for source, target, ports, flags in (
            (b"\x0a\t\0\1", b"\x0a\t\0\2", (40_000 + port % 9, port), 0x02),
            (b"\x0a\t\0\2", b"\x0a\t\0\1", (port, 40_000 + port % 9), 0x14),
        ):
            segment = struct.pack(">HHIIBBHHH", *ports, 1, 1, 0x50, flags, 1_024, 0, 0)
            head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, target)
            frames.append(b"\x02\0\0\0\0\2\x02\0\0\0\0\1\x08\0" + head + segment)
    return Frames(frames)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture
def start(wire: Wire) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Commands of kshot that run in the wire's namespace."""
    children: list[subprocess.Popen[str]] = []

    def begin(*words: object) -> subprocess.Popen[str]:
        command = wire.command(sys.executable, "-m", "kshot", *map(str, words))
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        children.append(child)
        return child

    yield begin
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()


def ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line == "ready\n", child.communicate()[1]


def until(child: subprocess.Popen[str], event: str) -> dict[str, object]:
    """The first line of the log that tells of `event`."""
    assert child.stderr is not None
    for line in child.stderr:
        told: dict[str, object] = json.loads(line)
        if told["event"] == event:
            return told
    raise AssertionError(f"it ended and never told of {event}")


@pytest.mark.usefixtures("home")
def test_a_scan_on_the_wire_is_told_before_its_flows_end(
    wire: Wire, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    stats, lines = tmp_path / "stats.json", tmp_path / "alerts.jsonl"
    child = start("watch", "--interface", FAR, "--threats", "port-scan,syn-flood", "--stats", stats, "--output", lines)
    ready(child)
    for task in Path(f"/proc/{child.pid}/task").iterdir():
        told = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        assert int(told["CapEff"], 16) == int(told["CapPrm"], 16) == 0 and told["NoNewPrivs"] == "1"
    frames, sender = scan(2_000), wire.sender()
    sent = sender.send(frames)
    sender.close()
    began = time.monotonic()
    alert = until(child, "alert")
    assert alert["originator"] == "10.9.0.1"
    assert time.monotonic() - began < 60, "flows that are closed linger for ten seconds, of which a scan is not told"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0, err
    assert json.loads(err.splitlines()[-1])["event"] == "stopped"
    counts = json.loads(stats.read_text())
    source = counts["source"]
    assert sent == 4_000 == counts["packets_read"] + counts["kernel_drops"] == source["kernel_seen"]
    assert counts["packets_read"] == source["metered"] and counts["kernel_drops"] == 0
    assert counts["flows_metered"] == counts["flows_scored"] + counts["flows_shed"] == source["flows"] == 2_000
    assert counts["early_alarms"] > 0
    # What alarmed early is not counted again.
    told_flows = sum(json.loads(line)["flows"] for line in run_alerts())
    assert 0 < told_flows <= 2_000


def run_alerts() -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "kshot", "alerts", "list", "-o", "jsonl"], capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()


@pytest.mark.usefixtures("home")
def test_an_interface_that_goes_is_told_and_waited_for(wire: Wire, start: Callable[..., subprocess.Popen[str]]) -> None:
    child = start("watch", "--interface", FAR, "--threats", "port-scan")
    ready(child)
    wire.cut()
    assert "was removed; nothing is read until it is back" in str(until(child, "input_damaged")["what"])
    wire.lay()
    assert "is back" in str(until(child, "input_damaged")["what"])
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0


def test_flows_of_an_interface_are_metered_for_a_while(
    wire: Wire, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    told, stats = tmp_path / "flows.jsonl", tmp_path / "stats.json"
    child = start("flows", "--interface", FAR, "--duration", 6, "--output", told, "--stats", stats)
    assert child.stderr is not None
    assert "listening" in child.stderr.readline()
    sender = wire.sender()
    sender.send(scan(300))
    sender.close()
    _, err = child.communicate(timeout=PATIENCE_SECONDS)
    assert child.returncode == 0, err
    assert len(told.read_text().splitlines()) == 300
    counts = json.loads(stats.read_text())
    assert counts["packets_read"] == counts["metered"] == counts["kernel_seen"] == 600 and counts["kernel_drops"] == 0


@pytest.mark.usefixtures("home")
def test_what_cannot_be_heard_is_one_line(wire: Wire, start: Callable[..., subprocess.Popen[str]]) -> None:
    wire.set(FAR, "down")
    for words, wanted in (
        (("watch", "--interface", "nope"), "nope: is no network interface; there are: far, lo, near"),
        (("watch", "--interface", FAR), "far: is down; bring it up: ip link set far up"),
        (("flows", "--interface", FAR), "far: is down"),
        (("watch", "--interface", FAR, "--zeek", "."), "give one of --interface IF"),
        (("flows", "--interface", FAR, "x.pcap"), "give captures or --interface"),
        (("flows", "--duration", "3", "x.pcap"), "--duration"),
    ):
        child = start(*words)
        out, err = child.communicate(timeout=PATIENCE_SECONDS)
        assert (child.returncode, out) == (2, "")
        assert wanted in one_line(err)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv (util-linux)")
def test_without_the_right_it_says_what_to_do(wire: Wire) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all")
    check = [*nobody, sys.executable, "-c", "import kshot.cli"]
    if subprocess.run(check, capture_output=True, env=os.environ | {"HOME": "/nonexistent"}).returncode:
        pytest.skip("this Python cannot be run by nobody")
    words = ("-m", "kshot", "watch", "--interface", FAR)
    ran = subprocess.run(
        wire.command(*nobody, sys.executable, *words), capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no right to read packets; run as root or give it CAP_NET_RAW" in one_line(ran.stderr)
