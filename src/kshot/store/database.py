"""Opens the alert store's database, SQLite (WAL) or PostgreSQL, and brings its schema up to date."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kshot.errors import MissingExtraError, OutputError, UserError

try:
    from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
except ImportError as error:
    raise MissingExtraError("the alert store", "watch") from error

HEAD = "0003"
"""The newest revision in migrations/versions: a database that is at it needs no alembic."""
BUSY_SECONDS = 10.0
"""How long a writer waits for another one."""
FILE = "watch.sqlite"
_LOCK_KEY = 0x6B73686F
"""PostgreSQL's advisory lock under which the schema is brought up to date."""


def default_url(home: Path) -> str:
    """The store of this home."""
    return f"sqlite:///{home / FILE}"


def open_database(url: str) -> Engine:
    """Open, or make, the database at `url`, at the newest schema.

    Raises:
        MissingExtraError: the driver is not installed.
        UserError: the URL names none that we know, or it is of a newer kshot.
        OutputError: it cannot be reached or written.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UserError(f"{url!r} is no database URL; give sqlite:///FILE or postgresql://HOST/NAME") from error
    kind = parsed.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise UserError(f"a database of {kind} is not supported; give sqlite:///FILE or postgresql://HOST/NAME")
    shown = parsed.render_as_string(hide_password=True)
    if kind == "sqlite":
        engine = _sqlite(Path(parsed.database or FILE))
    else:
        try:
            engine = create_engine(parsed.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
        except ImportError as error:
            raise MissingExtraError("a PostgreSQL store", "postgres") from error
    with database_errors(shown):
        try:
            _bring_up_to_date(engine, shown)
        except BaseException:
            engine.dispose()
            raise
    return engine


def _sqlite(path: Path) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # It holds addresses and what was said between them: for its owner alone.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; choose a place that you may write to"
        ) from (error)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # We say BEGIN ourselves: the driver would end a transaction before each change of the schema.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _bring_up_to_date(engine: Engine, shown: str) -> None:
    """One transaction, so that a crash on the way leaves the old schema with all its rows."""
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        found = _revision(connection)  # another process may have been faster
        if found == HEAD:
            return
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.attributes["connection"] = connection
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise UserError(f"{shown}: is of schema {found}, newer than this kshot knows; upgrade kshot")
        command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@contextlib.contextmanager
def database_errors(shown: str) -> Iterator[None]:
    """Turn what a database says into one line.

    Raises:
        OutputError: it cannot be reached, read or written; what was begun is undone.
    """
    try:
        yield
    except DBAPIError as error:
        raise OutputError(f"{shown}: {_told(error.orig or error)}") from error
    except sqlite3.Error as error:
        raise OutputError(f"{shown}: {_told(error)}") from error
    except SQLAlchemyError as error:
        raise OutputError(f"{shown}: {_told(error)}") from error


def _told(error: BaseException) -> str:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    lower = said.lower()
    if "locked" in lower or "busy" in lower:
        return f"{said}; another program holds it, try again"
    if "full" in lower or "no space" in lower:
        return f"{said}; free some space"
    if "not a database" in lower or "malformed" in lower:
        return f"{said}; move it away, a new one is made"
    return f"{said}; check the URL and its rights"
