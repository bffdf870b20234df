"""A PostgreSQL server of a test run's own, from whatever installation is there."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    found = shutil.which(name)
    if found:
        return found
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(places[-1]) if places else None


def _as_someone() -> tuple[list[str], int | None]:
    """PostgreSQL refuses to be root: then it is an account of the system's."""
    if os.geteuid() != 0:
        return [], None
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if shutil.which("setpriv"):
            ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
            return ["setpriv", *ids], account.pw_uid
    pytest.skip("PostgreSQL cannot run as root, and there is no account or setpriv to run it as")


@contextmanager
def postgres() -> Iterator[str]:
    """Give the URL of an empty server; skips where PostgreSQL or its driver is not installed."""
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed: pip install 'kshot[postgres]'")
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    prefix, owner = _as_someone()
    with tempfile.TemporaryDirectory(prefix="kshot-pg-") as name:
        folder = Path(name)
        if owner is not None:
            os.chown(folder, owner, -1)
        data = folder / "data"

        def call(*command: str) -> None:
            ran = subprocess.run([*prefix, *command], capture_output=True, text=True, check=False, cwd=folder)
            if ran.returncode:
                pytest.skip(f"PostgreSQL does not start here: {ran.stderr.strip() or ran.stdout.strip()}")

        call(initdb, "-D", str(data), "-A", "trust", "-U", "kshot", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        call(pg_ctl, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://kshot@/postgres?host={folder}"
        finally:
            call(pg_ctl, "-D", str(data), "-m", "immediate", "stop")
