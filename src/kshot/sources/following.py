"""The one shape of a source that is followed: records in pieces, each with a bookmark to go on from."""

from __future__ import annotations

from typing import Protocol

from kshot.records.streams import Bookmark, Piece


class FollowedSource(Protocol):
    """Gives each record once, over any number of processes that each go on from the last bookmark kept.

    It never blocks for long: where nothing is there to read yet it says so, and the caller waits.
    """

    @property
    def name(self) -> str:
        """What it follows, such as "zeek:/logs/current": the key of its bookmark."""

    @property
    def ended(self) -> bool:
        """Whether nothing will ever follow: standard input was closed."""

    @property
    def backlog_bytes(self) -> int:
        """How much is there to read by now, as far as that is known."""

    def resume(self, bookmark: Bookmark | None) -> None:
        """Go on behind `bookmark`, or begin without one; comes before all else.

        Raises:
            InputError: what is to be followed cannot be.
        """

    def read(self) -> Piece | None:
        """Return the next records; None where there are none yet, or no more.

        Raises:
            InputError: what is followed turned out to be something else.
        """

    def problems(self) -> list[str]:
        """Take what went wrong since the last call, a line each: damaged lines, files that are gone."""

    def counters(self) -> dict[str, int]:
        """What was read and left out since `resume`, by name."""

    def close(self) -> None:
        """Let go of files."""
