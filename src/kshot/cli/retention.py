"""Deletes what has been kept for long enough, while a watch runs."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kshot.store.alerts import AlertStore

_HOUR_SECONDS = 3_600.0


@contextmanager
def retention(kept: AlertStore, length: str | None, log: Callable[..., None]) -> Iterator[None]:
    """Purge at the start and every hour of what ended `length` ago (such as 90d); nothing without one.

    Raises:
        UserError: `length` is none.
    """
    from kshot.cli.suppressing import seconds_of

    if length is None:
        yield
        return
    seconds = seconds_of("--keep-alerts", length)
    over = threading.Event()
    thread = threading.Thread(target=_keep, args=(kept, seconds, log, over), name="kshot-retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10.0)


def _keep(kept: AlertStore, seconds: int, log: Callable[..., None], over: threading.Event) -> None:
    from kshot.cli.suppressing import nanoseconds
    from kshot.errors import OutputError
    from kshot.store.labels import note_in_audit

    while True:
        now = datetime.datetime.now(datetime.UTC)
        try:
            count = kept.purge(nanoseconds(now) - seconds * 10**9)
            if count:
                note_in_audit(kept, "kshot watch", now, "purge", f"{count} alerts older than {seconds} seconds")
                log("purged", alerts=count)
        except OutputError as error:
            log("purge_failed", why=str(error))
        if over.wait(_HOUR_SECONDS):
            return
