"""HUP: threats, references and rate are read anew, or refused while the old goes on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from kshot.cli.teaching import Lessons

_RELOADED = ("threats", "reference", "segment", "false_alarm_rate")


class Reload:
    """Reads a watch's configuration and threats once more."""

    def __init__(self, context: typer.Context, config: Path | None, lessons: Lessons, log: Callable[..., None]) -> None:
        from kshot.cli.config import as_given

        self._config = config
        self._lessons = lessons
        self._log = log
        self._given = as_given(context)
        self._params = dict(context.params)
        self._last = self._told()
        self._one_at_a_time = threading.Lock()

    def _told(self) -> Mapping[str, Any]:
        if self._config is None:
            return {}
        from kshot.cli.settings import read_settings

        return read_settings(self._config)

    def __call__(self) -> None:
        """Take over what is new, with the next batch; or say in one line why not."""
        from kshot.cli import flags
        from kshot.errors import KshotError

        with self._one_at_a_time:
            try:
                told = self._told()
                new = {
                    name: self._params[name] if name in self._given or self._config is None else told.get(name)
                    for name in _RELOADED
                }
                names, rate = flags.comma_list(new["threats"]), new["false_alarm_rate"]
                self._lessons.read(names, new["reference"], new["segment"], rate)
            except KshotError as error:
                self._log("reload_refused", why=str(error), effect="what was read before goes on")
                return
            later = [
                name
                for name in sorted({*told, *self._last} - {*_RELOADED, *self._given})
                if told.get(name) != self._last.get(name)
            ]
            self._log("reloaded", **({"after_a_restart": later} if later else {}))


@contextmanager
def on_hangup(reload: Reload) -> Iterator[None]:
    """Reload on HUP, beside the watch: what it is doing at that instant is not disturbed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A handler that starts a thread itself may find the lock taken by the very start of a thread that it interrupts.
    asked: SimpleQueue[bool] = SimpleQueue()

    def answer() -> None:
        while asked.get():
            one = threading.Thread(target=reload, daemon=True)
            one.start()
            one.join()

    threading.Thread(target=answer, daemon=True).start()
    old = signal.signal(signal.SIGHUP, lambda *_: asked.put(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, old)
        asked.put(False)
