"""What every followed source promises: each record once, over rotation, restarts and torn lines."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
from benchmarks.logs import CONN_FIELDS, tab_lines

from kshot.errors import InputError
from kshot.records.streams import Bookmark, Piece
from kshot.sources.capture_folder import CaptureFolder
from kshot.sources.followed_eve import EveFile, EveThreads
from kshot.sources.followed_logs import ZeekFolder
from kshot.sources.following import FollowedSource
from kshot.sources.standard_input import FLOW_LINE_SCHEMA, StandardInput
from kshot.sources.suricata import read_suricata
from kshot.sources.tail import Tail
from kshot.sources.zeek import read_zeek

CONN: dict[str, Any] = {
    "id.orig_h": "192.0.2.5", "id.orig_p": 50000, "id.resp_h": "198.51.100.7", "id.resp_p": 80, "proto": "tcp",
    "duration": 1.5, "orig_bytes": 100, "resp_bytes": 2000, "conn_state": "SF", "history": "ShADadFf",
    "orig_pkts": 6, "orig_ip_bytes": 352, "resp_pkts": 5, "resp_ip_bytes": 2212,
}  # fmt: skip
EVENT: dict[str, Any] = {
    "timestamp": "2024-01-01T00:00:10.000000+0000", "event_type": "flow", "src_ip": "192.0.2.5", "src_port": 50000,
    "dest_ip": "198.51.100.7", "dest_port": 80, "proto": "TCP", "app_proto": "http",
    "flow": {"pkts_toserver": 6, "pkts_toclient": 5, "bytes_toserver": 664, "bytes_toclient": 2390,
             "start": "2024-01-01T00:00:00.250000+0000", "end": "2024-01-01T00:00:01.750000+0000", "state": "closed"},
}  # fmt: skip
FAST = {"settle_seconds": 0.0}


@dataclass
class Rig:
    """A log in the making, and who follows it."""

    path: Path
    follow: Callable[[], FollowedSource]
    lines_of: Callable[[int], dict[str, str]]
    """Lines to append for record number n: file name to text."""
    header: dict[str, str] = field(default_factory=dict)
    read_whole: Callable[[list[Path]], pl.DataFrame] | None = None


def zeek_tab(folder: Path) -> Rig:
    def lines(number: int) -> dict[str, str]:
        uid, ts = f"C{number:06d}", 1_700_000_000.25 + number
        conn = list(tab_lines([CONN | {"ts": ts, "uid": uid, "service": "http"}], CONN_FIELDS, "conn"))
        http = f"{ts:.6f}\t{uid}\tGET\t/{number}\t200"
        return {"http.log": http, "conn.log": next(line for line in conn if not line.startswith("#"))}

    conn = list(tab_lines([CONN | {"ts": 1.0, "uid": "C", "service": "http"}], CONN_FIELDS, "conn"))
    fields = ["#separator \\x09", "#path\thttp", "#fields\tts\tuid\tmethod\turi\tstatus_code"]
    header = {
        "conn.log": "".join(line + "\n" for line in conn if line.startswith("#") and not line.startswith("#close")),
        "http.log": "".join(line + "\n" for line in fields),
    }
    follow = lambda: ZeekFolder(folder, hold_seconds=0.0, **FAST)  # noqa: E731
    return Rig(folder / "conn.log", follow, lines, header, lambda paths: read_zeek(paths).frame)


def zeek_json(folder: Path) -> Rig:
    def lines(number: int) -> dict[str, str]:
        uid, ts = f"C{number:06d}", 1_700_000_000.25 + number
        http = {"ts": ts, "uid": uid, "method": "GET", "uri": f"/{number}", "status_code": 200, "id.orig_h": "::1"}
        return {"http.log": json.dumps(http), "conn.log": json.dumps(CONN | {"ts": ts, "uid": uid, "service": "http"})}

    follow = lambda: ZeekFolder(folder, hold_seconds=0.0, **FAST)  # noqa: E731
    return Rig(folder / "conn.log", follow, lines, {}, lambda paths: read_zeek(paths).frame)


def eve(folder: Path) -> Rig:
    def lines(number: int) -> dict[str, str]:
        about = {"timestamp": EVENT["timestamp"], "flow_id": number}
        http = about | {"event_type": "http", "http": {"http_method": "GET", "url": f"/{number}"}}
        both = json.dumps(http) + "\n" + json.dumps(EVENT | {"flow_id": number})
        return {"eve.json": both}

    path = folder / "eve.json"
    return Rig(path, lambda: EveFile(path, **FAST), lines, {}, lambda paths: read_suricata(paths).frame)


def eve_threads(folder: Path) -> Rig:
    def lines(number: int) -> dict[str, str]:
        about = {"timestamp": EVENT["timestamp"], "flow_id": number}
        http = about | {"event_type": "http", "http": {"http_method": "GET", "url": f"/{number}"}}
        return {"eve.1.json": json.dumps(EVENT | {"flow_id": number}), "eve.2.json": json.dumps(http)}

    follow = lambda: EveThreads(folder / "eve.json", hold_seconds=0.0, **FAST)  # noqa: E731
    whole = lambda paths: read_suricata([folder / "eve.*.json"]).frame  # noqa: E731
    return Rig(folder / "eve.1.json", follow, lines, {}, whole)


RIGS = {"zeek tab": zeek_tab, "zeek json": zeek_json, "eve": eve, "eve threads": eve_threads}


@pytest.fixture(params=list(RIGS))
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    return RIGS[request.param](tmp_path)


class Writer:
    """Appends records as a sensor does: now and then a torn line, now and then a rotation."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.folder, self.number, self.rotations = rig, rig.path.parent, 0, 0
        self.torn = {name: "" for name in {*rig.header, *rig.lines_of(0)}}
        self.begin()

    def begin(self) -> None:
        for name in self.torn:
            (self.folder / name).write_text(self.rig.header.get(name, ""))

    def append(self, count: int, tear: int = 0) -> None:
        """Write `count` records; the last line of each file lacks its last `tear` characters until the next time."""
        text = self.torn
        for _ in range(count):
            for name, line in self.rig.lines_of(self.number).items():
                text[name] += line + "\n"
            self.number += 1
        for name, whole in text.items():
            cut = len(whole) - min(tear, len(whole))
            with (self.folder / name).open("a") as file:
                file.write(whole[:cut])
            self.torn[name] = whole[cut:]

    def rotate(self, way: str) -> None:
        self.append(0)
        self.rotations += 1
        for name in self.torn:
            path = self.folder / name
            old = path.with_name(f"{path.name}.{self.rotations}")
            if way == "copytruncate":
                shutil.copy2(path, old)
            else:
                path.rename(old)
                if way == "packed":
                    packed = old.with_name(old.name + ".gz")
                    packed.write_bytes(gzip.compress(old.read_bytes()))
                    status = old.stat()
                    os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
                    old.unlink()
        # mtimes tell which came first; a test rotates faster than the clock of some file systems ticks.
        time.sleep(0.005)
        self.begin()


def drain(source: FollowedSource) -> Iterator[Piece]:
    """Everything that is there: the second look sees what was behind a rotation."""
    for _ in range(3):
        while (piece := source.read()) is not None:
            yield piece


def uids(frame: pl.DataFrame) -> list[int]:
    return [int(uid.lstrip("C")) for uid in frame["log_uid"]]


def keep(bookmark: Bookmark) -> Bookmark:
    """As a store gives it back to another process."""
    carry = bookmark.carry()
    return Bookmark(bookmark.position, lambda: carry)


def test_what_is_followed_is_what_is_read_whole(rig: Rig) -> None:
    writer = Writer(rig)
    source = rig.follow()
    source.resume(None)
    frames = []
    for count in (3, 1, 40):
        writer.append(count)
        frames += [piece.frame for piece in drain(source)]
    source.close()
    assert source.backlog_bytes == 0
    assert rig.read_whole is not None
    assert pl.concat(frames).equals(rig.read_whole([rig.path]))
    assert pl.concat(frames)["log_http_uri"].to_list() == [f"/{number}" for number in range(44)]
    assert source.problems() == []
    assert source.counters()["bad_lines"] == 0


def test_a_torn_line_is_waited_for(rig: Rig) -> None:
    writer = Writer(rig)
    source = rig.follow()
    source.resume(None)
    writer.append(2, tear=9)
    seen = [uid for piece in drain(source) for uid in uids(piece.frame)]
    assert seen == [0]
    writer.append(0)
    seen += [uid for piece in drain(source) for uid in uids(piece.frame)]
    source.close()
    assert seen == [0, 1]
    assert source.counters()["bad_lines"] == 0


@pytest.mark.parametrize("way", ["renamed", "packed", "copytruncate"])
def test_each_record_once_over_rotations(rig: Rig, way: str) -> None:
    writer = Writer(rig)
    source = rig.follow()
    source.resume(None)
    seen: list[int] = []
    for _ in range(5):
        writer.append(5)
        seen += [uid for piece in drain(source) for uid in uids(piece.frame)]
        writer.append(2)
        writer.rotate(way)
        seen += [uid for piece in drain(source) for uid in uids(piece.frame)]
    assert seen == list(range(writer.number))
    assert source.problems() == []
    source.close()


@pytest.mark.parametrize("seed", range(2))
def test_each_record_once_over_restarts_at_any_moment(rig: Rig, seed: int) -> None:
    random = Random(seed)
    writer = Writer(rig)
    seen: list[int] = []
    facts: list[str | None] = []
    kept: Bookmark | None = None
    writer.append(1)
    for _ in range(9):
        source = rig.follow()
        source.resume(kept)
        for _ in range(random.randrange(1, 4)):
            writer.append(random.randrange(6), tear=random.choice((0, 0, 7)))
            for piece in drain(source):
                if kept is not None and random.random() < 0.3:
                    break  # killed before this piece was kept
                seen += uids(piece.frame)
                facts += piece.frame["log_http_uri"].to_list()
                kept = keep(piece.bookmark)
            else:
                continue
            break
        source.close()
        # Nobody looks while this happens.
        for _ in range(random.randrange(3)):
            writer.append(random.randrange(1, 5))
            writer.rotate(random.choice(("renamed", "packed")))
    writer.append(1)
    source = rig.follow()
    source.resume(kept)
    for piece in drain(source):
        seen += uids(piece.frame)
        facts += piece.frame["log_http_uri"].to_list()
    source.close()
    assert seen == list(range(writer.number))
    assert facts == [f"/{number}" for number in seen]


def test_damaged_lines_are_told_and_left_out(rig: Rig) -> None:
    writer = Writer(rig)
    source = rig.follow()
    source.resume(None)
    writer.append(2)
    with rig.path.open("a") as file:
        file.write("{\x00 neither this\n[1, 2]\n")
    writer.append(2)
    seen = [uid for piece in drain(source) for uid in uids(piece.frame)]
    assert seen == [0, 1, 2, 3]
    assert source.counters()["bad_lines"] == 2
    told = source.problems()
    assert len(told) == 2 and all(line.startswith(f"{rig.path}:") for line in told)
    source.close()


def test_what_is_gone_is_told(rig: Rig) -> None:
    writer = Writer(rig)
    source = rig.follow()
    source.resume(None)
    writer.append(3)
    kept = [keep(piece.bookmark) for piece in drain(source)][-1]
    source.close()
    writer.number = 100
    writer.begin()
    writer.append(2)
    again = rig.follow()
    again.resume(kept)
    assert [uid for piece in drain(again) for uid in uids(piece.frame)] == [100, 101]
    assert any("is gone; what it held beyond is lost" in line for line in again.problems())
    again.close()


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    for source in (
        ZeekFolder(tmp_path / "no"),
        EveFile(tmp_path / "no" / "eve.json"),
        EveFile(tmp_path),
        EveThreads(tmp_path / "no" / "eve.json"),
    ):
        with pytest.raises(InputError, match="give the"):
            source.resume(None)
    with pytest.raises(InputError, match="is no folder"):
        CaptureFolder(tmp_path / "no").resume(None)


@pytest.fixture
def piped() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.mark.parametrize("kind", ["eve", "zeek json"])
def test_lines_from_a_pipe(kind: str, piped: tuple[int, int], tmp_path: Path) -> None:
    rig = RIGS[kind](tmp_path)
    source = StandardInput(piped[0])
    source.resume(None)
    assert source.read() is None and not source.ended
    seen: list[int] = []
    for number in range(5):
        text = "".join(line + "\n" for line in rig.lines_of(number).values())
        os.write(piped[1], text[:-20].encode())
        seen += [uid for piece in drain(source) for uid in uids(piece.frame)]
        os.write(piped[1], (text[-20:-1] if number == 4 else text[-20:]).encode())
        if number == 4:
            os.close(piped[1])
        seen += [uid for piece in drain(source) for uid in uids(piece.frame)]
    assert seen == [0, 1, 2, 3, 4], "the last line may lack its end"
    assert source.ended


def test_a_file_on_standard_input_is_gone_on_with(tmp_path: Path) -> None:
    rig = eve(tmp_path)
    path = tmp_path / "lines"
    path.write_text("".join(rig.lines_of(number)["eve.json"] + "\n" for number in range(3)))
    with path.open("rb") as file:
        first = StandardInput(file.fileno())
        first.resume(None)
        kept = [keep(piece.bookmark) for piece in drain(first)][-1]
    with path.open("a") as more:
        more.write(rig.lines_of(3)["eve.json"] + "\n")
    with path.open("rb") as file:
        second = StandardInput(file.fileno())
        second.resume(kept)
        assert [uid for piece in drain(second) for uid in uids(piece.frame)] == [3]
    other = tmp_path / "other"
    other.write_text(rig.lines_of(9)["eve.json"] + "\n")
    with other.open("rb") as file:
        third = StandardInput(file.fileno())
        third.resume(kept)
        assert [uid for piece in drain(third) for uid in uids(piece.frame)] == [9]


def test_flows_of_our_own_from_a_pipe(piped: tuple[int, int]) -> None:
    row: dict[str, Any] = {name: None for name in FLOW_LINE_SCHEMA} | {"originator": "192.0.2.1", "orig_port": 5}
    lines = [row, "nonsense", row | {"orig_port": "six"}, {"originator": "x"}, row | {"orig_port": 7}]
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    os.write(piped[1], text.encode())
    source = StandardInput(piped[0])
    source.resume(None)
    (piece,) = drain(source)
    assert piece.frame["orig_port"].to_list() == [5, 7]
    assert piece.frame.schema == FLOW_LINE_SCHEMA
    assert source.counters()["bad_lines"] == 3


def test_lines_of_something_else_are_refused(piped: tuple[int, int]) -> None:
    os.write(piped[1], b'{"hello": 1}\n')
    source = StandardInput(piped[0])
    source.resume(None)
    with pytest.raises(InputError, match="its first line is no EVE event"):
        source.read()


def test_a_file_that_rotates_while_the_next_one_is_looked_for_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"

    class Archive(type(tmp_path)):  # type: ignore[misc]
        """A folder in whose listing, after that of the log's own, time enough passes for a rotation."""

        def iterdir(self) -> Iterator[Path]:
            if path.read_text() == "second\n":
                path.rename(tmp_path / "eve.json.2")
                path.write_text("third\n")
            return iter(())

    tail = Tail(path, archives=lambda: [Archive(tmp_path)], settle_seconds=0.0)
    path.write_text("first\n")
    given = [tail.read()]
    path.rename(tmp_path / "eve.json.1")
    path.write_text("second\n")
    given += [tail.read() for _ in range(4)]
    tail.close()
    assert [chunk.data for chunk in given if chunk] == [b"first\n", b"second\n", b"third\n"]


def test_rotated_twice_and_not_written_to_again_the_second_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text("first\n")
    tail = Tail(path, settle_seconds=0.0)
    given = [tail.read()]
    place = tail.place()
    tail.close()
    for number in (1, 2):
        path.rename(tmp_path / f"eve.json.{number}")
        if number == 1:
            path.write_text("second\n")
    again = Tail(path, settle_seconds=0.0)
    again.resume(place)
    given += [again.read() for _ in range(3)]
    path.write_text("third\n")
    given += [again.read() for _ in range(3)]
    again.close()
    assert [chunk.data for chunk in given if chunk] == [b"first\n", b"second\n", b"third\n"]
