"""EVE events over a unix socket: Suricata connects to it and sends, kshot listens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from kshot.records.streams import Bookmark, Piece
from kshot.sources.followed_logs import Problems
from kshot.sources.pending import PendingFacts
from kshot.sources.suricata import parse_eve
from kshot.sources.suricata_fields import no_flows
from kshot.sources.tail import CHUNK_BYTES, Chunk
from kshot.sources.unix_lines import MOST_HELD_BYTES, UnixLines

KINDS = ("unix_stream", "unix_dgram")
"""As suricata.yaml has them for filetype."""
_WAIT_SECONDS = 0.1


class EveSocket:
    """Listens for Suricata's events; a client may go and another come at any time.

    What was received and not kept is lost when the process is killed, and what is sent while nobody listens too. When
    lines wait to be taken, nothing more is received: a live Suricata then leaves events out, and counts them.
    """

    def __init__(
        self, path: Path, kind: str, *, wait_seconds: float = _WAIT_SECONDS, most_held_bytes: int = MOST_HELD_BYTES
    ) -> None:
        self.name = f"eve:{kind}:{path.absolute()}"
        self.ended = False
        self._where = f"{kind}:{path}"
        self._wait_seconds = wait_seconds
        self._source = UnixLines(path, datagrams=kind == "unix_dgram", most_held_bytes=most_held_bytes)
        self._lines = 0
        self._facts = PendingFacts()
        self._problems = Problems()

    def resume(self, bookmark: Bookmark | None) -> None:
        """See `FollowedSource`; facts of flows that were still open are gone on with."""
        if bookmark is not None:
            self._lines = int(json.loads(bookmark.position)["lines"])
            self._facts.unpack(bookmark.carry())
        self._source.open()

    @property
    def backlog_bytes(self) -> int:
        """See `FollowedSource`: what was received and not read; the kernel holds little more."""
        return self._source.held_bytes

    def read(self) -> Piece | None:
        """See `FollowedSource`."""
        data = self._source.take(CHUNK_BYTES, self._wait_seconds)
        return self._piece(data) if data else None

    def rest(self) -> Iterator[Piece]:
        """Listen no more, and give what was sent by now."""
        self._source.end()
        while data := self._source.take(CHUNK_BYTES):
            yield self._piece(data)

    def _piece(self, data: bytes) -> Piece:
        chunk = Chunk(data, self._where, self._lines + 1, False)
        result = parse_eve(data, chunk.first_line)
        self._lines += data.count(b"\n")
        self._problems.take(chunk, result.lines, result.problems)
        self._facts.add(result.facts)
        frame = self._facts.join(result.flows if result.flows.height else no_flows())
        return Piece(frame, Bookmark(json.dumps({"lines": self._lines}), self._facts.packer(), self._facts.version))

    def problems(self) -> list[str]:
        """See `FollowedSource`."""
        return self._problems.given(self._source.problems())

    def counters(self) -> dict[str, int]:
        """See `FollowedSource`."""
        return {
            **self._problems.counters, "clients": self._source.clients, "socket_waits": self._source.waits,
            "facts_dropped": self._facts.dropped,
        }  # fmt: skip

    def close(self) -> None:
        """See `FollowedSource`: removes the socket."""
        self._source.close()
