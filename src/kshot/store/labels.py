"""What analysts said of alerts: who, when and why, what it teaches, and the way back."""

from __future__ import annotations

import datetime
import json
from typing import Any

from kshot.errors import UserError
from kshot.records import kept
from kshot.records.kept import Label
from kshot.store.alerts import AlertStore
from kshot.store.database import database_errors

# isort: split
from sqlalchemy import Connection, Row, func, insert, select, update

from kshot.store.tables import AUDIT, LABELS


class LabelStore:
    """The labels beside the alerts of one store."""

    def __init__(self, alerts: AlertStore) -> None:
        self._alerts = alerts

    def draft(
        self, alert: int, verdict: str, *, who: str, when: datetime.datetime, threat: str | None = None, note: str = ""
    ) -> Label:
        """What `add` would write, its number 0. Raises `UserError` as `add` does."""
        if verdict not in kept.LABELS:
            raise UserError(f"{verdict!r} is no verdict; give one of {', '.join(kept.LABELS)}")
        about = self._alerts.alert(alert)
        if not about.evidence:
            raise UserError(f"alert {alert} has no record left to learn from")
        features = tuple(one.features for one in about.evidence)
        return Label(0, alert, verdict, threat or about.threat, note, who, when, False, features, about.fingerprint)

    def add(
        self, alert: int, verdict: str, *, who: str, when: datetime.datetime, threat: str | None = None, note: str = ""
    ) -> Label:
        """Label an alert; on disk, with its line of the audit, when it returns.

        threat: which threat it teaches, if not the alert's own.

        Raises:
            UserError: no such alert or verdict, or the alert has no record left to teach from.
            OutputError: the database fails; nothing was written.
        """
        label = self.draft(alert, verdict, who=who, when=when, threat=threat, note=note)
        values = {
            "alert": alert, "verdict": verdict, "threat": label.threat, "note": note, "who": who,
            "at": when.isoformat(), "is_undone": False, "features": json.dumps(label.features),
            "fingerprint": label.fingerprint,
        }  # fmt: skip
        told = f"alert {alert} is {verdict} ({label.threat}){': ' if note else ''}{note}"
        with database_errors(self._alerts.shown), self._alerts.engine.begin() as connection:
            number = int(connection.execute(insert(LABELS).values(**values)).inserted_primary_key[0])  # type: ignore[index]
            audit(connection, who, when, "label", f"label {number}: {told}")
            return _label(connection.execute(select(LABELS).where(LABELS.c.id == number)).one())

    def undo(self, alert: int, *, who: str, when: datetime.datetime) -> Label:
        """Take back the newest label of an alert that was not taken back yet; the detector forgets it.

        Raises:
            UserError: there is none.
            OutputError: the database fails; nothing was written.
        """
        standing = select(LABELS).where(LABELS.c.alert == alert, LABELS.c.is_undone.is_(False))
        with database_errors(self._alerts.shown), self._alerts.engine.begin() as connection:
            row = connection.execute(standing.order_by(LABELS.c.id.desc()).limit(1)).one_or_none()
            if row is None:
                raise UserError(f"alert {alert} has no label to take back; see: kshot alerts list")
            connection.execute(update(LABELS).where(LABELS.c.id == row.id).values(is_undone=True))
            audit(connection, who, when, "undo", f"label {row.id} of alert {alert} is taken back")
            return _label(connection.execute(select(LABELS).where(LABELS.c.id == row.id)).one())

    def of_alert(self, alert: int) -> list[Label]:
        """All labels of an alert, taken back ones too, the oldest first."""
        with database_errors(self._alerts.shown), self._alerts.engine.connect() as connection:
            rows = connection.execute(select(LABELS).where(LABELS.c.alert == alert).order_by(LABELS.c.id))
            return [_label(row) for row in rows]

    def standing(self) -> list[Label]:
        """The newest label of each alert, if it was not taken back, in the order in which they were given."""
        newest: dict[int, Label] = {}
        with database_errors(self._alerts.shown), self._alerts.engine.connect() as connection:
            for row in connection.execute(select(LABELS).where(LABELS.c.is_undone.is_(False)).order_by(LABELS.c.id)):
                newest.pop(row.alert, None)
                newest[row.alert] = _label(row)
        return list(newest.values())

    def version(self) -> tuple[int, int]:
        """Changes with every label and undo; cheap to ask."""
        with database_errors(self._alerts.shown), self._alerts.engine.connect() as connection:
            last = connection.execute(select(func.coalesce(func.max(LABELS.c.id), 0))).scalar_one()
            undone = select(func.count()).select_from(LABELS).where(LABELS.c.is_undone.is_(True))
            return int(last), int(connection.execute(undone).scalar_one())

    def audit(self) -> list[tuple[str, str, str, str]]:
        """When, who, action, about what: every line, in order."""
        query = select(AUDIT.c.at, AUDIT.c.who, AUDIT.c.action, AUDIT.c.about).order_by(AUDIT.c.id)
        with database_errors(self._alerts.shown), self._alerts.engine.connect() as connection:
            return [(at, who, action, about) for at, who, action, about in connection.execute(query)]


def note_in_audit(alerts: AlertStore, who: str, when: datetime.datetime, action: str, about: str) -> None:
    """Add a line to the audit. Raises `OutputError` where the database fails."""
    with database_errors(alerts.shown), alerts.engine.begin() as connection:
        audit(connection, who, when, action, about)


def audit(connection: Connection, who: str, when: datetime.datetime, action: str, about: str) -> None:
    """Add a line to the audit, within whatever it tells of."""
    connection.execute(insert(AUDIT).values(at=when.isoformat(), who=who, action=action, about=about))


def _label(row: Row[Any]) -> Label:
    return Label(
        id=row.id,
        alert=row.alert,
        verdict=row.verdict,
        threat=row.threat,
        note=row.note,
        who=row.who,
        when=datetime.datetime.fromisoformat(row.at),
        is_undone=row.is_undone,
        features=tuple(json.loads(row.features)),
        fingerprint=row.fingerprint,
    )
