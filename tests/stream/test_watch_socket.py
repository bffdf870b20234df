"""A watch that listens on a socket judges, when it is told to stop, all that was sent."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")

from test_watch_killed import events
from watch_child import MadeUp

from kshot.records.streams import Bookmark, Piece
from kshot.sources.eve_socket import EveSocket
from kshot.store.alerts import AlertStore
from kshot.stream.batching import PieceQueue
from kshot.stream.standing import Verdicts
from kshot.stream.warm import made_flows
from kshot.stream.watching import Watch, WatchOptions


class Patient(MadeUp):
    """Judges when it is told that it may."""

    may = threading.Event()

    def judge(self, features: pl.DataFrame, flows: pl.DataFrame) -> Verdicts:
        self.may.wait(100)
        return super().judge(features, flows)


def test_told_to_stop_while_its_queue_is_full_it_loses_nothing(tmp_path: Path) -> None:
    source = EveSocket(tmp_path / "eve.sock", "unix_stream")
    store = AlertStore(f"sqlite:///{tmp_path / 'watch.sqlite'}")
    told: list[str] = []
    watch = Watch(
        source,
        store,
        Patient,
        log=lambda event, **facts: told.append(event),
        options=WatchOptions(most_batch_records=50, batch_seconds=0.05),
        queue=PieceQueue(most_records=100),
        rest=source.rest,
    )
    watch.prepare()
    running = threading.Thread(target=watch.run)
    running.start()
    lines = events(1_000)
    with socket.socket(socket.AF_UNIX) as suricata:
        suricata.connect(str(tmp_path / "eve.sock"))
        for at in range(0, len(lines), 20):
            suricata.sendall("".join(line + "\n" for line in lines[at : at + 20]).encode())
            time.sleep(0.002)
    deadline = time.monotonic() + 60
    while not watch.stats()["reader_waits"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert watch.stats()["reader_waits"]
    assert watch.stats()["records"] < 1_000
    watch.stop()
    Patient.may.set()
    running.join(100)
    stats = watch.stats()
    store.close()
    assert not running.is_alive()
    assert (stats["records"], stats["lag_bytes"]) == (1_000, 0)
    assert "input_damaged" not in told


class Slow(PieceQueue):
    """Comes back with nothing only when all has been put."""

    def batch(self, *asked: Any) -> list[Piece]:
        taken = super().batch(*asked)
        while not taken and asked[2]() and not self._over:
            time.sleep(0.01)
        return taken


def test_what_is_put_last_is_judged_though_the_judge_had_just_found_nothing(tmp_path: Path) -> None:
    store = AlertStore(f"sqlite:///{tmp_path / 'watch.sqlite'}")
    flows = made_flows()
    watch = Watch(
        EveSocket(tmp_path / "eve.sock", "unix_stream"),
        store,
        MadeUp,
        log=lambda event, **facts: None,
        queue=Slow(),
        rest=lambda: [Piece(flows, Bookmark("null"))],
    )
    watch.prepare()
    watch.run(seconds=0.2)
    assert watch.stats()["records"] == flows.height
    store.close()
