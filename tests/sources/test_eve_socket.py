"""EVE events that Suricata sends to a socket become flows, as those of a file do."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from test_followed_eve import flow, http
from test_sources_following import keep, uids

from kshot.records.streams import Piece
from kshot.sources.eve_socket import EveSocket


def sender(path: Path, kind: str) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if kind == "unix_dgram" else socket.SOCK_STREAM)
    connected.connect(str(path))
    return connected


def until(source: EveSocket, flows: int) -> list[Piece]:
    pieces: list[Piece] = []
    while sum(piece.frame.height for piece in pieces) < flows and (piece := source.read()) is not None:
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("kind", ["unix_stream", "unix_dgram"])
def test_each_flow_with_its_facts_over_clients_and_restarts(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "eve.sock"
    seen: list[int] = []
    facts: list[str | None] = []
    kept = None
    for begin in range(0, 60, 20):
        source = EveSocket(path, kind, wait_seconds=10.0)
        source.resume(kept)
        for first in (begin, begin + 10):
            with sender(path, kind) as suricata:
                for number in range(first, first + 10):
                    suricata.send(http(number + 1).encode())  # one ahead: it is carried over the restart
                    suricata.send(flow(number).encode())
            for piece in until(source, 10):
                seen += uids(piece.frame)
                facts += piece.frame["log_http_uri"].to_list()
                kept = keep(piece.bookmark)
        assert source.problems() == []
        assert source.counters()["bad_lines"] == 0
        source.close()
        assert not path.exists()
    assert seen == list(range(60))
    assert facts == [None, *(f"/{number}" for number in range(1, 60))]
    assert kept is not None and json.loads(kept.position) == {"lines": 120}


def test_what_is_no_event_is_told_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "eve.sock"
    source = EveSocket(path, "unix_stream", wait_seconds=10.0)
    source.resume(None)
    with sender(path, "unix_stream") as suricata:
        suricata.sendall((flow(1) + "nonsense\n" + flow(2) + flow(3)[:40]).encode())
    assert [uid for piece in until(source, 2) for uid in uids(piece.frame)] == [1, 2]
    while source.counters()["bad_lines"] < 2:
        assert source.read() is not None
    assert [line.split(": ")[0] for line in source.problems()] == [f"unix_stream:{path}:2", f"unix_stream:{path}:4"]
    source.close()


def test_at_a_stop_what_was_sent_is_given(tmp_path: Path) -> None:
    path = tmp_path / "eve.sock"
    source = EveSocket(path, "unix_stream", wait_seconds=0.0)
    source.resume(None)
    with sender(path, "unix_stream") as suricata:
        suricata.sendall("".join(map(flow, range(100))).encode())
        given = [uid for piece in source.rest() for uid in uids(piece.frame)]
    assert given == list(range(100))
    assert source.backlog_bytes == 0
    source.close()
