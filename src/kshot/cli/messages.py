"""What the program says to a person at work: on stderr, one line each, and a bar for long files."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from kshot.cli.clean import clean

_BAR_FROM_BYTES = 8 << 20
"""A smaller file is done before a bar could be read."""


class ReaderGoneError(Exception):
    """Whoever read our standard output has seen enough (`| head`); click would take the system's error for a fault."""


class Messages:
    """Lines on stderr; `quiet` leaves out all but errors."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    @property
    def watched(self) -> bool:
        """Whether a person is there to watch something move."""
        return not self._quiet and sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Say something that the user should know and that changes nothing for a program."""
        if not self._quiet:
            self.fault(text)

    def summary(self, text: str) -> None:
        """Say what was done, to a person only: a log needs no more than the data."""
        if sys.stderr.isatty():
            self.note(text)

    def fault(self, text: str) -> None:
        """Say what is wrong with an input, `quiet` or not."""
        print(f"kshot: {clean(text)}", file=sys.stderr, flush=True)  # noqa: T201

    @contextlib.contextmanager
    def progress(self, what: str, paths: list[str]) -> Iterator[Callable[[int], None] | None]:
        """Show a bar over the bytes of all `paths` while the block runs; None when there is nobody to watch it."""
        sizes = [_size(path) for path in paths]
        if self._quiet or not sys.stderr.isatty() or sum(sizes) < _BAR_FROM_BYTES:
            yield None
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (TextColumn(what), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=sum(sizes))
            done = [0, 0]  # bytes of the captures before this one, and of this one

            def on_progress(consumed: int) -> None:
                if consumed < done[1]:  # a new capture has begun
                    done[0] += done[1]
                done[1] = consumed
                bar.update(task, completed=done[0] + consumed)

            yield on_progress


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
