"""What analysts do not want to hear of: scope, expiry, marks on past alerts, and the way back."""

from __future__ import annotations

import datetime

from kshot.errors import UserError
from kshot.records.kept import Suppression
from kshot.store.alerts import AlertStore, as_alert, as_suppression, standing_suppressions, suppressor
from kshot.store.database import database_errors
from kshot.store.labels import audit

# isort: split
from sqlalchemy import Connection, insert, select, update

from kshot.store.tables import ALERTS, SUPPRESSIONS


class SuppressionStore:
    """The suppressions beside the alerts of one store."""

    def __init__(self, alerts: AlertStore) -> None:
        self._alerts = alerts

    def add(
        self,
        *,
        who: str,
        when: datetime.datetime,
        threat: str | None = None,
        originator: str | None = None,
        responder: str | None = None,
        until_nanoseconds: int | None = None,
        note: str = "",
    ) -> tuple[Suppression, int]:
        """Suppress alerts of this scope, past and future; returns it, and how many of the past it marks.

        On disk, with its line of the audit, when it returns.

        Raises:
            UserError: it has no scope.
            OutputError: the database fails; nothing was written.
        """
        scope = {"threat": threat, "originator": originator, "responder": responder}
        if not any(scope.values()):
            raise UserError("that would suppress everything; give --threat, --originator or --responder")
        values = scope | {
            "until_nanoseconds": until_nanoseconds, "note": note, "who": who, "at": when.isoformat(),
            "is_lifted": False,
        }  # fmt: skip
        with database_errors(self._alerts.shown), self._alerts.engine.begin() as connection:
            number = int(connection.execute(insert(SUPPRESSIONS).values(**values)).inserted_primary_key[0])  # type: ignore[index]
            told = ", ".join(f"{name} {value}" for name, value in scope.items() if value)
            audit(connection, who, when, "suppress", f"suppression {number}: {told}{': ' if note else ''}{note}")
            marked = _mark(connection)
            row = connection.execute(select(SUPPRESSIONS).where(SUPPRESSIONS.c.id == number)).one()
            return as_suppression(row), marked

    def lift(self, number: int, *, who: str, when: datetime.datetime) -> tuple[Suppression, int]:
        """Take one back; returns it, and of how many alerts the mark was taken.

        Raises:
            UserError: there is none of that number, or it was lifted already.
            OutputError: the database fails; nothing was written.
        """
        with database_errors(self._alerts.shown), self._alerts.engine.begin() as connection:
            row = connection.execute(select(SUPPRESSIONS).where(SUPPRESSIONS.c.id == number)).one_or_none()
            if row is None or row.is_lifted:
                raise UserError(f"there is no suppression {number} to lift; see: kshot alerts suppressions")
            connection.execute(update(SUPPRESSIONS).where(SUPPRESSIONS.c.id == number).values(is_lifted=True))
            audit(connection, who, when, "unsuppress", f"suppression {number} is lifted")
            return as_suppression(row), _mark(connection)

    def all(self, *, lifted: bool = False) -> list[Suppression]:
        """Those that stand, expired ones too, in the order in which they were given; with `lifted` also the others."""
        with database_errors(self._alerts.shown), self._alerts.engine.connect() as connection:
            if not lifted:
                return standing_suppressions(connection)
            return [as_suppression(row) for row in connection.execute(select(SUPPRESSIONS).order_by(SUPPRESSIONS.c.id))]


def _mark(connection: Connection) -> int:
    """Say of each alert which suppression it falls under by now; returns how many marks changed."""
    standing = standing_suppressions(connection)
    changed = 0
    for row in connection.execute(select(ALERTS)).all():
        by = suppressor(as_alert(row), standing)
        if by != row.suppressed_by:
            connection.execute(update(ALERTS).where(ALERTS.c.id == row.id).values(suppressed_by=by))
            changed += 1
    return changed
