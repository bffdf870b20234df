"""Killed at any instant and started again, a watch ends with the alerts of one that nobody disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")

from kshot.records.kept import KeptAlert
from kshot.store.alerts import AlertStore

CHILD = Path(__file__).with_name("watch_child.py")
RECORDS = 4_000


def events(count: int) -> list[str]:
    """Flows of a few busy hosts and many quiet ones, with http facts of some, in the order of their ends."""
    random = Random(7)
    lines = []
    for number in range(count):
        second = 1_767_225_600 + number // 2
        start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{number % 1000:03d}000+0000"
        host = f"10.0.0.{random.choice((1, 1, 1, 2, 2, random.randrange(3, 200)))}"
        about: dict[str, Any] = {
            "timestamp": start, "flow_id": number, "src_ip": host, "src_port": 40_000 + number % 20_000,
            "dest_ip": f"198.51.100.{random.randrange(1, 12)}", "dest_port": random.choice((22, 80, 443)),
            "proto": "TCP", "app_proto": "http",
        }  # fmt: skip
        if number % 3 == 0:
            lines.append(
                json.dumps(about | {"event_type": "http", "http": {"http_method": "GET", "url": f"/{number}"}})
            )
        flow = {
            "pkts_toserver": 6, "pkts_toclient": 5, "bytes_toserver": 600 + number % 97, "bytes_toclient": 2_000,
            "start": start, "end": start, "state": "closed",
        }  # fmt: skip
        lines.append(json.dumps(about | {"event_type": "flow", "flow": flow}))
    return lines


def told(alerts: list[KeptAlert], store: AlertStore) -> list[tuple[Any, ...]]:
    """Everything of every alert but its number, which depends on how the records fell into batches."""
    whole = [store.alert(alert.id) for alert in alerts]
    return sorted(
        (one.threat, one.originator, one.responder, one.first_nanoseconds, one.last_nanoseconds, one.flows, one.score,
         one.record, one.reasons, one.is_open, one.evidence)
        for one in whole
    )  # fmt: skip


def table(database: Path) -> tuple[list[tuple[Any, ...]], int]:
    store = AlertStore(f"sqlite:///{database}")
    try:
        resumed = store.resume(next(iter_sources(store)))
        assert resumed is not None
        return told(store.alerts(), store), resumed.progress.records
    finally:
        store.close()


def iter_sources(store: AlertStore) -> Any:
    from sqlalchemy import text

    with store.engine.connect() as connection:
        yield from [row[0] for row in connection.execute(text("SELECT source FROM bookmarks"))]


def start(eve: Path, database: Path, *flags: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(eve), str(database), "150", *flags], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def finish(eve: Path, database: Path) -> None:
    child = start(eve, database, "--until-idle")
    out, _ = child.communicate(timeout=120)
    assert (child.returncode, out) == (0, "")


class Feeder(threading.Thread):
    """Writes a log as it would grow, as far as it may, and rotates it now and then."""

    def __init__(self, eve: Path, lines: list[str], *, threads: bool = False) -> None:
        super().__init__(daemon=True)
        self._lines = lines
        # As two of Suricata's threads would: one tells of requests, and the other of the flows they were in.
        self._files = [eve.with_name("eve.2.json"), eve.with_name("eve.1.json")] if threads else [eve]
        for file in self._files:
            file.touch()
        self.share = 0.0
        """Of the lines, that may be written by now."""

    def run(self) -> None:
        step = 40
        steps = len(self._lines) // step + 1
        for number in range(steps):
            while number > self.share * steps:
                time.sleep(0.005)
            lines = self._lines[number * step : (number + 1) * step]
            for at, path in enumerate(self._files):
                mine = [line for line in lines if path is self._files[0 if '"http":' in line else -1]]
                with path.open("a") as file:
                    file.write("".join(line + "\n" for line in mine))
                if number % 25 == 24 - 7 * at:
                    path.rename(path.with_name(f"{path.name}.{number}"))
                    path.touch()
            time.sleep(0.01)


class Watches:
    """Watches of one store, one after the other, each a process to be killed."""

    def __init__(self, eve: Path, database: Path) -> None:
        command = [sys.executable, str(CHILD), str(eve), str(database), "150", "--again"]
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._pid = 0

    def _line(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()

    def start(self) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.write("start\n")
        self._parent.stdin.flush()
        # Which of the two processes speaks first is chance.
        said = {self._line(), self._line()}
        assert "ready" in said
        self._pid = int((said - {"ready"}).pop())

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        assert self._line() == "gone", "it said what it should not, or had ended by itself"

    def close(self) -> None:
        self._parent.communicate(timeout=30)


def killed_run(
    folder: Path, lines: list[str], kills: int, *, threads: bool = False
) -> tuple[list[tuple[Any, ...]], int]:
    eve, database = folder / ("eve.*.json" if threads else "eve.json"), folder / "killed.sqlite"
    feeder = Feeder(eve, lines, threads=threads)
    random = Random(kills)
    watches = Watches(eve, database)
    watches.start()
    feeder.start()
    # The first batch is behind it: a log that rotates away before anything was kept is none of the source's.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not has_begun(database):
        time.sleep(0.02)
    for kill in range(kills):
        # So that there is something to read at every kill, however slow the machine.
        feeder.share = (kill + 1) / kills
        time.sleep(random.random())
        watches.kill()
        watches.start()
    feeder.join()
    watches.kill()
    watches.close()
    finish(eve, database)
    return table(database)


def has_begun(database: Path) -> bool:
    store = AlertStore(f"sqlite:///{database}")
    try:
        return next(iter_sources(store), None) is not None
    finally:
        store.close()


def undisturbed(folder: Path, lines: list[str]) -> tuple[list[tuple[Any, ...]], int]:
    eve = folder / "whole" / "eve.json"
    eve.parent.mkdir()
    eve.write_text("".join(line + "\n" for line in lines))
    finish(eve, folder / "whole.sqlite")
    return table(folder / "whole.sqlite")


def check(folder: Path, kills: int, *, threads: bool = False) -> None:
    lines = events(RECORDS)
    wanted, records = undisturbed(folder, lines)
    assert records == RECORDS
    assert len(wanted) > 20 and sum(row[5] for row in wanted) > 300
    found, count = killed_run(folder, lines, kills, threads=threads)
    assert count == RECORDS
    assert found == wanted


@pytest.mark.slow  # a log that grows needs its time
def test_six_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    check(tmp_path, kills=6)


@pytest.mark.slow  # as above
def test_six_kills_with_files_of_threads_lose_and_double_nothing(tmp_path: Path) -> None:
    check(tmp_path, kills=6, threads=True)


@pytest.mark.long  # as above, for five minutes
def test_two_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    check(tmp_path, kills=200)


def test_a_gentle_stop_keeps_what_was_judged(tmp_path: Path) -> None:
    eve, database = tmp_path / "eve.json", tmp_path / "watch.sqlite"
    eve.write_text("".join(line + "\n" for line in events(400)))
    child = start(eve, database)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not has_begun(database):
        time.sleep(0.05)
    child.terminate()
    child.communicate(timeout=30)
    finish(eve, database)
    assert table(database)[1] == 400
