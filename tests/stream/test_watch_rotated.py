"""A log that rotates under a watch gives each record once; a full disk delays it and costs nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")

from test_watch_killed import events, finish, start, table, undisturbed
from watch_child import MadeUp

from kshot.records.streams import Bookmark, Piece
from kshot.sources.followed_eve import EveFile
from kshot.store.alerts import AlertStore
from kshot.stream.watching import Watch, WatchOptions

FLOW = (
    '{"timestamp":"2026-01-01T%s.%06d+0000","flow_id":%d,"event_type":"flow","src_ip":"10.0.%d.%d","src_port":40000,'
    '"dest_ip":"198.51.100.%d","dest_port":443,"proto":"TCP","flow":{"pkts_toserver":6,"pkts_toclient":5,'
    '"bytes_toserver":664,"bytes_toclient":2390,"start":"2026-01-01T%s.%06d+0000","end":"2026-01-01T%s.%06d+0000",'
    '"state":"closed"}}\n'
)
HOSTILE = (
    "\x00\x01\x02\n",
    '{"event_type":"flow","flow":{}}\n',
    "[" * 3_000 + "\n",
    '{"flow_id": 1e999}\n',
    "{" + '"' * 999 + "\n",
)


class Writer(threading.Thread):
    """Writes `records` flows with a hostile line now and then, and renames the file `rotations` times."""

    def __init__(self, path: Path, records: int, rotations: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self._path, self._records, self._rotations, self._seconds = path, records, rotations, seconds
        self.hostile = 0

    def run(self) -> None:
        random = Random(5)
        each = self._records // (self._rotations + 1) + 1
        for rotation in range(self._rotations + 1):
            with self._path.open("a") as file:
                for number in range(rotation * each, min((rotation + 1) * each, self._records)):
                    clock = time.strftime("%H:%M:%S", time.gmtime(number // 100))
                    micro = number % 100 * 10_000
                    host = number % 60_000
                    at = (clock, micro)
                    file.write(FLOW % (*at, number, host >> 8, host & 255, number % 250, *at, *at))
                    if number % 997 == 0:
                        self.hostile += 1
                        file.write(random.choice(HOSTILE))
            if rotation < self._rotations:
                self._path.rename(self._path.with_name(f"{self._path.name}.{rotation + 1}"))
                self._path.touch()
                time.sleep(self._seconds / self._rotations)


class Noting:
    """A followed file that notes which records it gave."""

    def __init__(self, path: Path, seen: Counter[int]) -> None:
        self._source, self._seen = EveFile(path, settle_seconds=0.05), seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def resume(self, bookmark: Bookmark | None) -> None:
        self._source.resume(bookmark)

    def read(self) -> Piece | None:
        piece = self._source.read()
        if piece is not None:
            self._seen.update(int(uid) for uid in piece.frame["log_uid"])
        return piece


def follow(folder: Path, records: int, rotations: int, seconds: float, restarts: int) -> None:
    path, database = folder / "eve.json", folder / "watch.sqlite"
    path.touch()
    writer = Writer(path, records, rotations, seconds)
    seen: Counter[int] = Counter()
    told: list[str] = []
    for number in range(restarts + 1):
        store = AlertStore(f"sqlite:///{database}")
        source = Noting(path, seen)
        watch = Watch(
            source,  # type: ignore[arg-type]
            store,
            MadeUp,  # type: ignore[arg-type]
            log=lambda event, **facts: told.append(event),
            options=WatchOptions(batch_seconds=0.05),
        )
        watch.prepare()
        if not number:
            writer.start()
        if number < restarts:
            watch.run(seconds / (restarts + 1))
        else:
            stopper = threading.Thread(target=stop_when_done, args=(watch, writer, records), daemon=True)
            stopper.start()
            watch.run()
            stopper.join()
        stats = watch.stats()
        store.close()
    assert stats["records"] == records, "what the store counts, over all restarts"
    assert set(seen) == set(range(records))
    assert set(seen.values()) == {1}
    assert told.count("input_damaged") > 0
    assert "input_gone" not in told


def stop_when_done(watch: Watch, writer: Writer, records: int) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and (writer.is_alive() or watch.stats()["records"] < records):
        time.sleep(0.05)
    time.sleep(0.5)  # anything doubled would come now
    watch.stop()


@pytest.mark.slow  # a file that rotates needs its time
def test_each_record_once_over_rotations_and_restarts(tmp_path: Path) -> None:
    follow(tmp_path, records=30_000, rotations=5, seconds=5.0, restarts=2)


@pytest.mark.long  # a million records
def test_a_million_records_once_over_a_hundred_rotations(tmp_path: Path) -> None:
    follow(tmp_path, records=1_000_000, rotations=100, seconds=60.0, restarts=5)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def wait_for(what: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)


@pytest.mark.slow  # three starts of the program
def test_a_full_disk_costs_nothing(tmp_path: Path, small_disk: Path) -> None:
    lines = events(3_000)
    wanted, _ = undisturbed(tmp_path, lines)
    eve = tmp_path / "eve.json"
    cut = len(lines) // 2
    append(eve, lines[:cut])
    database = small_disk / "watch.sqlite"
    child = start(eve, database, "--say-failures")
    try:
        wait_for(lambda: committed(database) > 0)
        with (small_disk / "filler").open("wb") as file:
            fill(file.fileno())
        append(eve, lines[cut:])
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        assert "full" in told["why"] and "free some space" in told["why"]
        before = committed(database)
        store = AlertStore(f"sqlite:///{database}")
        assert len(store.alerts()) > 0, "what is kept can be read meanwhile"
        store.close()
        (small_disk / "filler").unlink()
        freed = time.monotonic()
        wait_for(lambda: committed(database) > before, 10.0)
        assert time.monotonic() - freed <= 10.0
        wait_for(lambda: committed(database) == 3_000)
        for name in ("watch.sqlite", "watch.sqlite-wal"):
            shutil.copy(small_disk / name, tmp_path / f"copy{name.removeprefix('watch')}")
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    finish(eve, tmp_path / "copy.sqlite")
    assert table(tmp_path / "copy.sqlite") == (wanted, 3_000)


def append(path: Path, lines: list[str]) -> None:
    with path.open("a") as file:
        file.write("".join(line + "\n" for line in lines))


def fill(descriptor: int) -> None:
    """Write until nothing goes in any more."""
    for size in (1 << 20, 1 << 12, 1):
        try:
            while os.write(descriptor, b"x" * size) == size:
                pass
        except OSError:
            continue


def committed(database: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        row = connection.execute("SELECT records FROM bookmarks").fetchone()
        return row[0] if row else 0
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
