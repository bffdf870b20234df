"""`kshot doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runs import Run


def test_says_what_is_there_and_what_is_missing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kshot.cli.doctor._EXTRAS", (("moon", "no_such_module", "landing"), ("dev", "pytest", "tests")))
    ran = run("doctor")
    assert (ran.code, ran.err) == (0, "")
    assert "missing [moon]        landing; get: pip install 'kshot[moon]'" in ran.out
    assert "numba" in ran.out and "polars" in ran.out
    assert "0 threats" in ran.out


def test_a_missing_package_is_a_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kshot.cli.doctor._CORE", ("numpy", "no-such-package"))
    ran = run("doctor")
    assert ran.code == 2
    assert "no-such-package missing; get: pip install no-such-package" in ran.out


def test_a_home_that_cannot_be_written_is_a_fault(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KSHOT_HOME", str(tmp_path / "file" / "home"))
    ran = run("doctor")
    assert ran.code == 2
    assert "set KSHOT_HOME" in ran.out


def test_warm_runs_the_whole_pipeline(run: Run) -> None:
    ran = run("doctor", "--warm")
    assert ran.code == 0, ran.err
    assert "compiled and run on 140 flows" in ran.out.splitlines()[-1]
