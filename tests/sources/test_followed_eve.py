"""Files that Suricata's threads write, followed as one; and what --eve may name."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from test_sources_following import EVENT, drain, keep, uids

from kshot.errors import InputError
from kshot.records.streams import Bookmark
from kshot.sources.eve_socket import EveSocket
from kshot.sources.followed_eve import EveFile, EveThreads, followed_eve

FAST: dict[str, Any] = {"hold_seconds": 0.0, "settle_seconds": 0.0}


def about(number: int) -> dict[str, Any]:
    """What events of a flow have in common; a second apart."""
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_704_067_200 + number))
    return {"timestamp": f"{when}.000000+0000", "flow_id": number}


def flow(number: int) -> str:
    return json.dumps(about(number) | EVENT | about(number)) + "\n"


def http(number: int) -> str:
    return (
        json.dumps(about(number) | {"event_type": "http", "http": {"http_method": "GET", "url": f"/{number}"}}) + "\n"
    )


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


class Threads:
    """Suricata's threads: each event goes to the file of any of them, and now and then one is rotated."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.folder, self.random, self.number, self.rotations = folder, random, 0, 0
        self.last = 2

    def append(self, count: int) -> None:
        for _ in range(count):
            for line in (http(self.number), flow(self.number)):
                add(self.folder / f"eve.{self.random.randint(1, self.last)}.json", line)
            self.number += 1

    def rotate(self) -> None:
        """Rename one file; not all threads write again soon, and further ones begin."""
        path = self.folder / f"eve.{self.random.randint(1, self.last)}.json"
        if path.exists():
            self.rotations += 1
            path.rename(path.with_name(f"{path.name}.{self.rotations}"))
            time.sleep(0.005)
        self.last = min(self.last + 1, 5)


@pytest.mark.parametrize("seed", range(2))
def test_each_flow_once_with_its_facts_over_restarts_rotations_and_new_threads(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    threads = Threads(tmp_path, random)
    seen: Counter[int] = Counter()
    facts: dict[int, str | None] = {}
    threads.append(3)
    kept: Bookmark | None = None

    def follow(*, to_the_end: bool) -> None:
        nonlocal kept
        source = EveThreads(tmp_path / "eve.json", **FAST)
        source.resume(kept)
        for _ in range(3):
            for piece in drain(source):
                if kept is not None and not to_the_end and random.random() < 0.3:
                    source.close()
                    return  # killed before this piece was kept
                seen.update(uids(piece.frame))
                facts.update(zip(uids(piece.frame), piece.frame["log_http_uri"].to_list(), strict=True))
                kept = keep(piece.bookmark)
            if not to_the_end:
                threads.append(random.randrange(4))
        assert source.problems() == []
        source.close()

    for _ in range(8):
        follow(to_the_end=False)
        for _ in range(random.randrange(3)):
            threads.append(random.randrange(1, 5))
            threads.rotate()
    follow(to_the_end=True)
    assert seen == Counter(range(threads.number))
    assert facts == {number: f"/{number}" for number in range(threads.number)}


def test_a_thread_that_began_and_was_rotated_while_nobody_looked_is_read(tmp_path: Path) -> None:
    add(tmp_path / "eve.1.json", flow(1))
    source = EveThreads(tmp_path / "eve.json", **FAST)
    source.resume(None)
    kept = [keep(piece.bookmark) for piece in drain(source)][-1]
    source.close()
    add(tmp_path / "eve.7.json", flow(2))
    (tmp_path / "eve.7.json").rename(tmp_path / "eve.7.json.1")
    again = EveThreads(tmp_path / "eve.json", **FAST)
    again.resume(kept)
    assert [uid for piece in drain(again) for uid in uids(piece.frame)] == [2]
    again.close()


def test_what_was_rotated_away_before_the_first_start_stays_unread(tmp_path: Path) -> None:
    add(tmp_path / "eve.1.json.1", flow(1))
    os.utime(tmp_path / "eve.1.json.1", (1_700_000_000, 1_700_000_000))
    add(tmp_path / "eve.1.json", flow(2))
    source = EveThreads(tmp_path / "eve.json", **FAST)
    source.resume(None)
    assert [uid for piece in drain(source) for uid in uids(piece.frame)] == [2]
    source.close()


def test_a_flow_waits_for_what_another_thread_tells_of_it(tmp_path: Path) -> None:
    now = 0.0
    source = EveThreads(tmp_path / "eve.json", hold_seconds=1.0, settle_seconds=0.0, clock=lambda: now)
    source.resume(None)
    add(tmp_path / "eve.1.json", flow(1))
    add(tmp_path / "eve.2.json", http(0))
    now = 5.0
    assert source.read() is None
    assert source.backlog_bytes > 0
    add(tmp_path / "eve.2.json", http(1))
    now = 5.9
    assert source.read() is None
    now = 6.0
    piece = source.read()
    assert piece is not None and piece.frame["log_http_uri"].to_list() == ["/1"]
    source.close()


def test_behind_by_hours_the_files_are_read_side_by_side(tmp_path: Path) -> None:
    """One thread tells ten thousand times as much as the other; still each flow meets its facts."""
    count, step = 64_000, 640
    (tmp_path / "eve.2.json").write_text("".join(http(number) for number in range(count)))
    (tmp_path / "eve.1.json").write_text("".join(flow(number) for number in range(0, count, step)))
    assert (tmp_path / "eve.2.json").stat().st_size > 8 << 20
    source = EveThreads(tmp_path / "eve.json", hold_seconds=0.0)
    source.resume(None)
    pieces = list(drain(source))
    source.close()
    facts = [fact for piece in pieces for fact in piece.frame["log_http_uri"].to_list()]
    assert facts == [f"/{number}" for number in range(0, count, step)]
    assert len(pieces) > 1


def test_a_path_means_the_file_or_the_files_that_are_there(tmp_path: Path) -> None:
    one, threads = f"eve:{tmp_path}/eve.json", f"eve:{tmp_path}/eve.*.json"
    assert followed_eve(str(tmp_path)).name == followed_eve(f"{tmp_path}/eve.json").name == one
    assert followed_eve(f"{tmp_path}/eve.*.json").name == threads
    (tmp_path / "eve.3.json").touch()
    assert followed_eve(str(tmp_path)).name == followed_eve(f"{tmp_path}/eve.json").name == threads
    (tmp_path / "eve.json").touch()
    assert followed_eve(str(tmp_path)).name == followed_eve(f"{tmp_path}/eve.json").name == one
    assert followed_eve(f"{tmp_path}/eve.*.json").name == threads
    assert isinstance(followed_eve(f"unix_stream:{tmp_path}/s"), EveSocket)
    assert followed_eve(f"unix_dgram:{tmp_path}/s").name == f"eve:unix_dgram:{tmp_path}/s"


def test_other_names_are_refused_with_what_to_give(tmp_path: Path) -> None:
    for told in (f"{tmp_path}/eve*.json", f"{tmp_path}/eve.*.*.json", f"{tmp_path}/*"):
        with pytest.raises(InputError, match=r"such as eve\.\*\.json"):
            followed_eve(told)
    with pytest.raises(InputError, match="give unix_stream:PATH or unix_dgram:PATH"):
        followed_eve(f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as there:
        there.bind(str(tmp_path / "s"))
        with pytest.raises(InputError, match=f"give unix_stream:{tmp_path}/s or"):
            followed_eve(f"{tmp_path}/s")


@pytest.mark.parametrize("is_there", [False, True])
def test_a_file_that_nobody_writes_to_beside_files_of_threads_is_told_once(tmp_path: Path, is_there: bool) -> None:
    now = [100.0]
    if is_there:
        add(tmp_path / "eve.json", flow(1))
        os.utime(tmp_path / "eve.json", (1_700_000_000, 1_700_000_000))
    source = EveFile(tmp_path / "eve.json", clock=lambda: now[0])
    source.resume(None)
    add(tmp_path / "eve.2.json", flow(2))
    told: list[str] = []
    for _ in range(3):
        now[0] += 100.0
        list(drain(source))
        told += source.problems()
    source.close()
    assert len(told) == 1
    assert told[0].endswith(f"eve.2.json that is written to; if Suricata's threads have a file each, give --eve"
                            f" '{tmp_path}/eve.*.json'")  # fmt: skip


def test_a_rotated_file_called_like_one_of_a_thread_is_not_taken_for_it(tmp_path: Path) -> None:
    add(tmp_path / "eve.1.json", flow(1))
    add(tmp_path / "eve.json", flow(2))
    source = EveFile(tmp_path / "eve.json")
    source.resume(None)
    assert [uid for piece in drain(source) for uid in uids(piece.frame)] == [2]
    assert source.problems() == []
    source.close()


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    for number in range(513):
        (tmp_path / f"eve.{number}.json").touch()
    with pytest.raises(InputError, match="more than 512 files"):
        EveThreads(tmp_path / "eve.json").resume(None)
