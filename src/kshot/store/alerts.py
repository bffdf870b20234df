"""Alerts, their evidence and the sources' bookmarks, committed as one."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kshot.errors import UserError
from kshot.records.kept import Evidence, KeptAlert, Suppression
from kshot.store.database import database_errors, open_database

# isort: split
# After database.py, which names the extra where SQLAlchemy is missing.
from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from kshot.store.tables import ALERTS, BOOKMARKS, EVIDENCE, JOURNAL, RESERVOIR, STANDING, SUPPRESSIONS


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one source was read and judged, at a batch's end."""

    batch: int
    """Batches so far."""
    records: int
    """Records judged so far."""
    position: str
    """The source's own."""
    carry: bytes | None = None
    """The source's own; None where it is as it was."""
    snapshot: bytes | None = None
    """What the watch remembers, which makes the journal so far needless; None where `journal` tells of the batch."""
    journal: bytes = b""
    """What of this batch has to be remembered."""
    sample: bytes = b""
    """Records of this batch that join the reservoir."""
    whole_sample: bytes | None = None
    """The reservoir as one, this batch and all before it; None where `sample` tells."""
    standing: bytes | None = None
    """The reference that was learned on the way; None where it is as it was."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What the store knows of a source."""

    progress: Progress
    journal: list[bytes] = field(default_factory=list)
    """Of the batches after the snapshot, in order."""
    alerts: list[KeptAlert] = field(default_factory=list)
    """Those still open, with their evidence."""
    samples: list[bytes] = field(default_factory=list)
    """The reservoir, in the order in which it grew."""
    standing: bytes = b""
    """The reference that was learned on the way; empty where there is none."""


class AlertStore:
    """One database of alerts.

    >>> import tempfile, pathlib
    >>> store = AlertStore(f"sqlite:///{pathlib.Path(tempfile.mkdtemp(), 'watch.sqlite')}")
    >>> store.resume("zeek:/logs") is None, store.alerts()
    (True, [])
    >>> store.close()
    """

    def __init__(self, url: str) -> None:
        """Open the database, made or brought up to date if need be; raises what `open_database` raises."""
        self.engine = open_database(url)
        self.shown = self.engine.url.render_as_string(hide_password=True)
        """The URL as it may be shown."""

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    def resume(self, source: str) -> Resumed | None:
        """What is known of `source`; None if it was never read. Raises `OutputError` where the database fails."""
        with database_errors(self.shown), self.engine.connect() as connection:
            row = connection.execute(select(BOOKMARKS).where(BOOKMARKS.c.source == source)).one_or_none()
            if row is None:
                return None
            journal = connection.execute(
                select(JOURNAL.c.records).where(JOURNAL.c.source == source).order_by(JOURNAL.c.batch)
            )
            told = [bytes(one) for (one,) in journal]
            grown = select(RESERVOIR.c.records).where(RESERVOIR.c.source == source).order_by(RESERVOIR.c.batch)
            samples = [bytes(one) for (one,) in connection.execute(grown)]
            standing = connection.execute(select(STANDING.c.reference).where(STANDING.c.source == source)).scalar()
            still = select(ALERTS).where(ALERTS.c.source == source, ALERTS.c.is_open.is_(True)).order_by(ALERTS.c.id)
            alerts = _with_evidence(connection, [as_alert(one) for one in connection.execute(still)])
        progress = Progress(row.batch, row.records, row.position, bytes(row.carry), bytes(row.snapshot))
        return Resumed(progress, told, alerts, samples, bytes(standing or b""))

    def commit(self, source: str, progress: Progress, alerts: Sequence[KeptAlert]) -> list[int]:
        """Write alerts (id 0: a new one), all their evidence, and how far `source` was read: all of it or nothing.

        Returns the id of each alert. On disk when it returns.

        Raises:
            OutputError: the database fails; nothing was written.
        """
        with database_errors(self.shown), self.engine.begin() as connection:
            quiet = standing_suppressions(connection) if alerts else []
            ids = [_write(connection, source, alert, quiet) for alert in alerts]
            old = [number for number, alert in zip(ids, alerts, strict=True) if alert.id]
            for some in _some(old):
                connection.execute(delete(EVIDENCE).where(EVIDENCE.c.alert.in_(some)))
            evidence = [
                {"alert": number, **{name: getattr(one, name) for name in EVIDENCE.c.keys() if name != "alert"}}
                for number, alert in zip(ids, alerts, strict=True)
                for one in alert.evidence
            ]
            if evidence:
                connection.execute(insert(EVIDENCE), evidence)
            _keep_progress(connection, source, progress)
        return ids

    def late_records(self) -> list[bytes]:
        """The reservoirs of all sources: features of late records that belong to no alert."""
        query = select(RESERVOIR.c.records).order_by(RESERVOIR.c.source, RESERVOIR.c.batch)
        with database_errors(self.shown), self.engine.connect() as connection:
            return [bytes(one) for (one,) in connection.execute(query)]

    def with_evidence(self, alerts: Sequence[KeptAlert]) -> list[KeptAlert]:
        """The same alerts with the records behind them."""
        with database_errors(self.shown), self.engine.connect() as connection:
            return _with_evidence(connection, list(alerts))

    def alerts(
        self, *, threat: str | None = None, is_open: bool | None = None, after: int = 0, most: int | None = None
    ) -> list[KeptAlert]:
        """Alerts without their evidence, the newest first; with `most`, no more than those."""
        query = select(ALERTS).where(ALERTS.c.id > after).order_by(ALERTS.c.id.desc())
        if threat is not None:
            query = query.where(ALERTS.c.threat == threat)
        if is_open is not None:
            query = query.where(ALERTS.c.is_open.is_(is_open))
        if most is not None:
            query = query.limit(most)
        with database_errors(self.shown), self.engine.connect() as connection:
            return [as_alert(row) for row in connection.execute(query)]

    def alert(self, number: int) -> KeptAlert:
        """One alert with its evidence. Raises `UserError` if there is none of that number."""
        with database_errors(self.shown), self.engine.connect() as connection:
            row = connection.execute(select(ALERTS).where(ALERTS.c.id == number)).one_or_none()
            if row is None:
                raise UserError(f"there is no alert {number}; see: kshot alerts list")
            return _with_evidence(connection, [as_alert(row)])[0]

    def count(self) -> int:
        """How many alerts there are."""
        with database_errors(self.shown), self.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(ALERTS)).scalar_one())

    def purge(self, before_nanoseconds: int) -> int:
        """Delete closed alerts that ended before then, and their evidence; returns how many.

        In SQLite what was deleted is overwritten, and the log emptied.
        """
        gone = (ALERTS.c.last_nanoseconds < before_nanoseconds) & ALERTS.c.is_open.is_(False)
        with database_errors(self.shown), self.engine.begin() as connection:
            numbers = list(connection.execute(select(ALERTS.c.id).where(gone)).scalars())
            for some in _some(numbers):
                connection.execute(delete(EVIDENCE).where(EVIDENCE.c.alert.in_(some)))
                connection.execute(delete(ALERTS).where(ALERTS.c.id.in_(some)))
        if self.engine.dialect.name == "sqlite":
            raw = self.engine.raw_connection()
            try:
                with database_errors(self.shown):
                    raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
            finally:
                raw.close()
        else:
            with database_errors(self.shown), self.engine.connect() as connection:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM alerts, evidence"))
        return len(numbers)


def _some(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    """As many at a time as any database takes in one statement."""
    return (numbers[at : at + 500] for at in range(0, len(numbers), 500))


_TEXTS = ("attack", "reasons")


def standing_suppressions(connection: Connection) -> list[Suppression]:
    """Those that were not lifted, in the order in which they were given."""
    query = select(SUPPRESSIONS).where(SUPPRESSIONS.c.is_lifted.is_(False)).order_by(SUPPRESSIONS.c.id)
    return [as_suppression(row) for row in connection.execute(query)]


def as_suppression(row: Row[Any]) -> Suppression:
    """A row of the table of suppressions."""
    told = {name: getattr(row, name) for name in SUPPRESSIONS.c.keys() if name != "at"}
    return Suppression(**told, when=datetime.datetime.fromisoformat(row.at))


def suppressor(alert: KeptAlert, suppressions: Iterable[Suppression]) -> int | None:
    """The first of `suppressions` that an alert falls under."""
    return next((one.id for one in suppressions if one.covers(alert)), None)


def _write(connection: Connection, source: str, alert: KeptAlert, suppressions: Sequence[Suppression]) -> int:
    values: dict[str, Any] = {
        name: json.dumps(getattr(alert, name)) if name in _TEXTS else getattr(alert, name)
        for name in ALERTS.c.keys()
        if name not in ("id", "source")
    }
    values["suppressed_by"] = suppressor(alert, suppressions)
    if alert.id:
        connection.execute(update(ALERTS).where(ALERTS.c.id == alert.id).values(**values))
        return alert.id
    return int(connection.execute(insert(ALERTS).values(source=source, **values)).inserted_primary_key[0])  # type: ignore[index]


def _keep_progress(connection: Connection, source: str, progress: Progress) -> None:
    values: dict[str, Any] = {
        "batch": progress.batch,
        "records": progress.records,
        "position": progress.position,
    }
    if progress.carry is not None:
        values["carry"] = progress.carry
    if progress.snapshot is not None:
        values["snapshot"] = progress.snapshot
        connection.execute(delete(JOURNAL).where(JOURNAL.c.source == source))
    if not connection.execute(update(BOOKMARKS).where(BOOKMARKS.c.source == source).values(**values)).rowcount:
        connection.execute(insert(BOOKMARKS).values(**({"source": source, "carry": b"", "snapshot": b""} | values)))
    _keep_learned(connection, source, progress)
    if progress.journal:
        connection.execute(insert(JOURNAL).values(source=source, batch=progress.batch, records=progress.journal))


def _keep_learned(connection: Connection, source: str, progress: Progress) -> None:
    sample = progress.sample
    if progress.whole_sample is not None:
        connection.execute(delete(RESERVOIR).where(RESERVOIR.c.source == source))
        sample = progress.whole_sample
    if sample:
        connection.execute(insert(RESERVOIR).values(source=source, batch=progress.batch, records=sample))
    if progress.standing is not None:
        connection.execute(delete(STANDING).where(STANDING.c.source == source))
        connection.execute(insert(STANDING).values(source=source, reference=progress.standing))


def as_alert(row: Row[Any]) -> KeptAlert:
    """A row of the table of alerts, without its evidence."""
    told = {name: getattr(row, name) for name in ALERTS.c.keys() if name != "source"}
    return KeptAlert(**(told | {name: tuple(json.loads(told[name])) for name in _TEXTS}))


def _with_evidence(connection: Connection, alerts: list[KeptAlert]) -> list[KeptAlert]:
    found: dict[int, list[Evidence]] = {}
    for some in _some([alert.id for alert in alerts]):
        for row in connection.execute(select(EVIDENCE).where(EVIDENCE.c.alert.in_(some))):
            one = Evidence(row.record, row.score, row.p_value, row.facts, row.features)
            found.setdefault(row.alert, []).append(one)
    return [
        replace(alert, evidence=tuple(sorted(found.get(alert.id, []), key=lambda one: one.loudness)))
        for alert in alerts
    ]
