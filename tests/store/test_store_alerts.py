"""The alert store's promises, on SQLite and PostgreSQL: one commit or none, labels, undo."""

from __future__ import annotations

import datetime
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from databases import postgres

pytest.importorskip("sqlalchemy", reason="the store needs pip install 'kshot[watch]'")

from sqlalchemy import create_engine, text

from kshot.errors import OutputError, UserError
from kshot.records.kept import Evidence, KeptAlert
from kshot.store.alerts import AlertStore, Progress
from kshot.store.labels import LabelStore
from kshot.store.suppressions import SuppressionStore

NOON = datetime.datetime(2026, 3, 2, 12, tzinfo=datetime.UTC)
ALERT = KeptAlert(
    id=0, threat="dns-tunnel", originator="192.0.2.1", responder=None, first_nanoseconds=1_772_452_800_123_456_789,
    last_nanoseconds=1_772_452_801_000_000_001, flows=3, score=7.25, p_value=None, calibrated="none",
    attack=("T1071.004",), reasons=("long names", "1.5 \u2265 1"), record=17, is_open=True, fingerprint="f",
    evidence=(Evidence(17, 7.25, None, '{"a": 1}', '{"x": 0.1}'), Evidence(4, 3.0, None, "{}", '{"x": 0.2}')),
)  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'folder' / 'watch.sqlite'}"
        return
    server = request.getfixturevalue("server")
    name = f"t{abs(hash(request.node.nodeid)):x}"
    admin = create_engine(server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    yield server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def store(url: str) -> Iterator[AlertStore]:
    store = AlertStore(url)
    yield store
    store.close()


def test_what_was_committed_is_there_for_another_process(url: str, store: AlertStore) -> None:
    (number,) = store.commit("a", Progress(1, 20, "{}", b"carry", b"snap", b""), [ALERT])
    store.commit("a", Progress(2, 30, '{"at": 2}', None, None, b"two"), [])
    store.commit("b", Progress(1, 5, "elsewhere", None, None, b"other"), [replace(ALERT, is_open=False)])
    again = AlertStore(url)
    resumed = again.resume("a")
    again.close()
    assert resumed is not None
    assert resumed.progress == Progress(2, 30, '{"at": 2}', b"carry", b"snap")
    assert resumed.journal == [b"two"]
    assert resumed.alerts == [replace(ALERT, id=number)]
    assert store.resume("c") is None
    assert len(store.alerts()) == 2 == store.count()
    assert [alert.id for alert in store.alerts(is_open=True)] == [number]


def test_an_alert_grows_and_keeps_its_number(store: AlertStore) -> None:
    (number,) = store.commit("a", Progress(1, 20, ""), [ALERT])
    louder = Evidence(21, 9.0, 0.001, "{}", "{}")
    grown = replace(ALERT, id=number, flows=4, p_value=0.001, record=21, evidence=(louder, ALERT.evidence[0]))
    assert store.commit("a", Progress(2, 40, ""), [grown]) == [number]
    assert store.alert(number) == grown
    assert store.count() == 1
    with pytest.raises(UserError, match="no alert 99; see: kshot alerts list"):
        store.alert(99)


def test_a_snapshot_ends_the_journal_before_it(store: AlertStore) -> None:
    for batch in (1, 2, 3):
        store.commit("a", Progress(batch, batch, "", journal=bytes([batch])), [])
    store.commit("a", Progress(4, 4, "", snapshot=b"all four"), [])
    store.commit("a", Progress(5, 5, "", journal=b"five"), [])
    resumed = store.resume("a")
    assert resumed is not None
    assert (resumed.progress.snapshot, resumed.journal) == (b"all four", [b"five"])


def test_a_commit_that_fails_leaves_nothing(store: AlertStore) -> None:
    store.commit("a", Progress(1, 1, "old", journal=b"one"), [])
    with pytest.raises(OutputError):
        # The same batch twice in the journal is refused, after the alert was written.
        store.commit("a", Progress(1, 2, "new", journal=b"again"), [ALERT])
    resumed = store.resume("a")
    assert resumed is not None and resumed.progress.position == "old"
    assert store.count() == 0


def test_labels_are_told_of_and_taken_back(store: AlertStore) -> None:
    numbers = store.commit("a", Progress(1, 1, ""), [ALERT, replace(ALERT, threat="beacon")])
    labels = LabelStore(store)
    before = labels.version()
    first = labels.add(numbers[0], "false-positive", who="ada", when=NOON, note="the backup")
    assert (first.threat, first.features) == ("dns-tunnel", ('{"x": 0.1}', '{"x": 0.2}'))
    labels.add(numbers[1], "malicious", who="ada", when=NOON, threat="tunnel-2")
    second = labels.add(numbers[0], "malicious", who="bob", when=NOON)
    assert labels.version() != before
    assert [(one.alert, one.verdict) for one in labels.standing()] == [
        (numbers[1], "malicious"),
        (numbers[0], "malicious"),
    ]
    assert labels.undo(numbers[0], who="ada", when=NOON).id == second.id
    assert labels.standing()[0].id == first.id
    labels.undo(numbers[0], who="ada", when=NOON)
    with pytest.raises(UserError, match="no label to take back"):
        labels.undo(numbers[0], who="ada", when=NOON)
    assert [one.is_undone for one in labels.of_alert(numbers[0])] == [True, True]
    assert [action for _, _, action, _ in labels.audit()] == ["label", "label", "label", "undo", "undo"]
    with pytest.raises(UserError, match="is no verdict"):
        labels.add(numbers[0], "evil", who="ada", when=NOON)


def test_suppressions_mark_the_past_and_what_comes_and_are_lifted(store: AlertStore) -> None:
    suppressions, labels = SuppressionStore(store), LabelStore(store)
    later = replace(ALERT, first_nanoseconds=ALERT.first_nanoseconds + 10**15)  # type: ignore[operator]
    old, other = store.commit("a", Progress(1, 1, ""), [ALERT, replace(ALERT, originator="192.0.3.1")])
    with pytest.raises(UserError, match="suppress everything"):
        suppressions.add(who="ada", when=NOON)
    until = ALERT.first_nanoseconds + 10**14  # type: ignore[operator]
    told, marked = suppressions.add(
        who="ada", when=NOON, threat="dns-tunnel", originator="192.0.2.0/24", until_nanoseconds=until, note="scanner"
    )
    assert (marked, told.who, told.when, told.note, told.is_lifted) == (1, "ada", NOON, "scanner", False)
    new, grown, expired = store.commit("a", Progress(2, 2, ""), [ALERT, replace(ALERT, id=old, flows=9), later])
    by = {alert.id: alert.suppressed_by for alert in store.alerts()}
    assert by == {old: told.id, other: None, new: told.id, expired: None} and grown == old
    assert suppressions.all() == [told]
    _, marked = suppressions.lift(told.id, who="bob", when=NOON)
    assert marked == 2 and {alert.suppressed_by for alert in store.alerts()} == {None}
    assert suppressions.all() == [] and len(suppressions.all(lifted=True)) == 1
    with pytest.raises(UserError, match="no suppression 1 to lift"):
        suppressions.lift(told.id, who="bob", when=NOON)
    assert [(who, action) for _, who, action, _ in labels.audit()] == [("ada", "suppress"), ("bob", "unsuppress")]


def test_the_first_schema_is_brought_up_to_date_with_all_its_rows(url: str) -> None:
    store = AlertStore(url)
    (number,) = store.commit("a", Progress(1, 20, "{}", b"carry", b"snap", b""), [ALERT])
    from alembic import command
    from alembic.config import Config

    import kshot.store.database as database

    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    store.close()
    again = AlertStore(url)
    assert again.alert(number) == replace(ALERT, id=number)
    resumed = again.resume("a")
    assert resumed is not None and resumed.progress.records == 20 and resumed.samples == []
    again.commit("a", Progress(2, 30, "{}", sample=b"two", standing=b"reference"), [])
    again.commit("a", Progress(3, 40, "{}", sample=b"three"), [])
    resumed = again.resume("a")
    assert resumed is not None and (resumed.samples, resumed.standing) == ([b"two", b"three"], b"reference")
    again.commit("a", Progress(4, 50, "{}", whole_sample=b"all"), [])
    assert again.late_records() == [b"all"]
    again.close()


def test_a_purge_leaves_no_byte_of_what_it_took(store: AlertStore) -> None:
    secret = replace(ALERT, originator="198.51.100.77", is_open=False)
    evidence = (Evidence(1, 1.0, None, '{"who": "198.51.100.77"}', "{}"),)
    numbers = store.commit("a", Progress(1, 1, ""), [replace(secret, evidence=evidence), ALERT])
    assert store.purge(secret.last_nanoseconds or 0) == 0
    assert store.purge((secret.last_nanoseconds or 0) + 1) == 1
    assert [alert.id for alert in store.alerts()] == [numbers[1]]
    if store.engine.dialect.name == "sqlite":
        path = Path(str(store.engine.url.database))
        files = [one.read_bytes() for one in path.parent.iterdir()]
        assert not any(b"198.51.100.77" in data for data in files)
        assert any(b"192.0.2.1" in data for data in files)
    store.commit("a", Progress(2, 2, ""), [ALERT])
    assert max(alert.id for alert in store.alerts()) == 3, "numbers are never used again"


def test_a_schema_of_the_future_is_refused(url: str) -> None:
    store = AlertStore(url)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(UserError, match="of schema 9999, newer than this kshot knows; upgrade kshot"):
        AlertStore(url)


def test_the_schema_is_what_the_tables_say(store: AlertStore) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from kshot.store.tables import METADATA

    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_many_open_an_empty_store_at_once(url: str) -> None:
    failed: list[BaseException] = []

    def open_and_write(number: int) -> None:
        try:
            store = AlertStore(url)
            store.commit(f"s{number}", Progress(1, 1, ""), [ALERT])
            store.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=open_and_write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    store = AlertStore(url)
    assert store.count() == 4
    store.close()


def test_an_interrupted_migration_leaves_the_old_schema(tmp_path: Path) -> None:
    # Killed after all tables were made and before the commit: the file is still an empty database.
    program = (
        "import os, signal, sys\n"
        "from alembic import command\n"
        "upgrade = command.upgrade\n"
        "command.upgrade = lambda *a: (upgrade(*a), os.kill(os.getpid(), signal.SIGKILL))\n"
        "from kshot.store.alerts import AlertStore\n"
        "AlertStore(sys.argv[1])\n"
    )
    url = f"sqlite:///{tmp_path / 'watch.sqlite'}"
    ran = subprocess.run([sys.executable, "-c", program, url], check=False, env=dict(os.environ))
    assert ran.returncode == -signal.SIGKILL
    with sqlite3.connect(tmp_path / "watch.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()
    store = AlertStore(url)
    assert store.count() == 0
    store.close()


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    for url, said in (
        ("nonsense", "is no database URL"),
        ("mysql://x/y", "of mysql is not supported"),
        ("postgresql://kshot:secret@/x?host=/nowhere", "check the URL"),
    ):
        with pytest.raises((UserError, OutputError), match=said) as caught:
            AlertStore(url)
        assert "\n" not in str(caught.value) and "secret" not in str(caught.value)
    torn = tmp_path / "torn.sqlite"
    torn.write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputError, match="move it away, a new one is made"):
        AlertStore(f"sqlite:///{torn}")
