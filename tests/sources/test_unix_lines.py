"""A socket that is listened on: who may connect, what is left of it, and what waits when nobody takes."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kshot.errors import InputError
from kshot.sources import unix_lines
from kshot.sources.unix_lines import UnixLines

Made = Callable[..., UnixLines]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Opens listeners at a path of the test's own, and closes them."""
    opened: list[UnixLines] = []

    def make(path: Path = tmp_path / "s", *, datagrams: bool = False, most_held_bytes: int = 1 << 20) -> UnixLines:
        opened.append(UnixLines(path, datagrams=datagrams, most_held_bytes=most_held_bytes))
        opened[-1].open()
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def client(path: Path, *, datagrams: bool = False) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    connected.connect(str(path))
    return connected


def taken(lines: UnixLines, wanted: int) -> bytes:
    """What comes until there are `wanted` lines, or none for long."""
    found = b""
    while found.count(b"\n") < wanted and (more := lines.take(1 << 20, 10.0)):
        found += more
    return found


def comes(is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    return is_so()


def test_lines_of_several_clients_whole(made: Made) -> None:
    lines = made()
    with client(lines.path) as first, client(lines.path) as second:
        first.sendall(b"one\ntw")
        assert taken(lines, 1) == b"one\n"
        second.sendall(b"other\n")
        assert taken(lines, 1) == b"other\n"
        first.sendall(b"o\n")
        assert taken(lines, 1) == b"two\n"
        first.sendall(b"without an end")
    assert taken(lines, 1) == b"without an end\n"
    with client(lines.path) as third:
        third.sendall(b"after them\n")
        assert taken(lines, 1) == b"after them\n"
    assert lines.clients == 3
    assert lines.take(1 << 20) == b""


def test_more_clients_than_places_take_turns(made: Made) -> None:
    lines = made()
    clients = [client(lines.path) for _ in range(20)]
    for number, one in enumerate(clients):
        one.sendall(b"%d\n" % number)
    assert sorted(map(int, taken(lines, 16).split())) == list(range(16))
    for one in clients:
        one.close()
    assert sorted(map(int, taken(lines, 4).split())) == list(range(16, 20))


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_datagram_is_a_line(made: Made, end: bytes) -> None:
    lines = made(datagrams=True)
    with client(lines.path, datagrams=True) as first, client(lines.path, datagrams=True) as second:
        for number in range(50):
            (first, second)[number % 2].send(b"%d" % number + end)
        assert taken(lines, 50) == b"".join(b"%d\n" % number for number in range(50))


@pytest.mark.parametrize("datagrams", [False, True])
def test_who_sends_waits_while_nobody_takes(made: Made, datagrams: bool) -> None:
    lines = made(datagrams=datagrams, most_held_bytes=100_000)
    line = b"x" * 999 + b"\n"
    sent = 0
    with client(lines.path, datagrams=datagrams) as sender:
        sender.setblocking(False)
        refused_at = 0.0
        while sent < 20_000 and (not refused_at or time.monotonic() < refused_at + 1.0):
            try:
                sender.send(line)
                sent += 1
            except BlockingIOError:
                refused_at = refused_at or time.monotonic()
                time.sleep(0.01)
        assert sent < 20_000 and lines.waits >= 1
        assert lines.held_bytes <= 100_000 + (2 << 20)
        assert taken(lines, sent) == line * sent, "what was sent came; what was refused the sender knows of"


def test_a_line_without_end_costs_its_client_the_connection(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_lines, "_MOST_LINE_BYTES", 10_000)
    lines = made()
    with client(lines.path) as sender, pytest.raises(OSError):
        for _ in range(1_000):
            sender.sendall(b"x" * 1_000)
    assert comes(lambda: bool(lines._problems))
    assert lines.problems() == [f"{lines.path}: a line is longer than 4 MiB; its client was disconnected"]
    assert lines.take(100) == b""


def test_owner_and_group_may_connect_and_at_the_end_it_is_gone(made: Made) -> None:
    before = os.umask(0o077)
    try:
        lines = made()
    finally:
        assert os.umask(before) == 0o077, "the process's own is as it was"
    assert stat.S_IMODE(lines.path.lstat().st_mode) == 0o660
    assert lines.path.lstat().st_gid == lines.path.parent.stat().st_gid
    lines.close()
    assert not lines.path.exists()


@pytest.mark.parametrize("datagrams", [False, True])
def test_a_stale_socket_is_replaced_and_a_living_one_is_not(made: Made, tmp_path: Path, datagrams: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM) as gone:
        gone.bind(str(tmp_path / "s"))
    lines = made(datagrams=datagrams)
    inode = lines.path.lstat().st_ino
    for other in (True, False):
        with pytest.raises(InputError, match="another process listens there; stop it"):
            made(datagrams=other)
    assert lines.path.lstat().st_ino == inode
    with client(lines.path, datagrams=datagrams) as sender:
        sender.send(b"still\n")
        assert taken(lines, 1) == b"still\n"


def test_what_is_no_socket_stays(made: Made, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("of value")
    with pytest.raises(InputError, match="is there, and is no socket; give another path"):
        made()
    assert (tmp_path / "s").read_text() == "of value"


def test_places_where_no_socket_can_be(made: Made, tmp_path: Path) -> None:
    for path, what in (
        (tmp_path / "no" / "s", "no such file"), (tmp_path / ("x" * 110), "107 bytes"), (Path(), "no path of a socket")
    ):  # fmt: skip
        with pytest.raises(InputError, match=what) as caught:
            made(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("datagrams", [False, True])
def test_removed_it_is_made_anew(made: Made, monkeypatch: pytest.MonkeyPatch, datagrams: bool) -> None:
    monkeypatch.setattr(unix_lines, "_LOOK_SECONDS", 0.05)
    lines = made(datagrams=datagrams)
    with client(lines.path, datagrams=datagrams) as old:
        old.send(b"before\n")
        lines.path.unlink()
        assert comes(lines.path.exists)
        with client(lines.path, datagrams=datagrams) as new:
            new.send(b"after\n")
            assert sorted(taken(lines, 2).splitlines()) == [b"after", b"before"]
    assert lines.problems() == [f"{lines.path}: was removed; kshot listens there anew"]


def test_ousted_it_says_so_once_and_leaves_what_is_there(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_lines, "_LOOK_SECONDS", 0.05)
    lines = made()
    with client(lines.path) as old:
        old.send(b"hello\n")
        assert taken(lines, 1) == b"hello\n"
        lines.path.unlink()
        lines.path.write_text("another's")
        assert comes(lambda: bool(lines._problems))
        time.sleep(0.3)
        assert [line.partition(": ")[2] for line in lines.problems()] == [
            "nobody new can connect: is there, and is no socket"
        ]
        old.send(b"still here\n")
        assert taken(lines, 1) == b"still here\n"
    lines.close()
    assert lines.path.read_text() == "another's"


@pytest.mark.parametrize("datagrams", [False, True])
def test_at_the_end_what_was_sent_is_taken(made: Made, datagrams: bool) -> None:
    lines = made(datagrams=datagrams)
    with client(lines.path, datagrams=datagrams) as sender:
        for number in range(200):
            sender.send(b"%d\n" % number)
        lines.end()
        assert taken(lines, 200) == b"".join(b"%d\n" % number for number in range(200))
        with pytest.raises(OSError):
            sender.send(b"too late\n")
            sender.send(b"too late\n")


def test_it_wakes_who_waits(made: Made) -> None:
    lines = made()
    with client(lines.path) as sender:
        threading.Timer(0.2, sender.sendall, [b"now\n"]).start()
        began = time.monotonic()
        assert lines.take(100, 20.0) == b"now\n"
        assert time.monotonic() - began < 15
