"""Memory that runs out is told in one line, whichever library notices; nothing else is taken for it."""

from __future__ import annotations

import errno
from collections.abc import Callable

import numpy as np
import pytest
from cli_runs import Run, one_line
from polars.exceptions import ColumnNotFoundError, ComputeError, PanicException

from kshot.cli.memory import says_out_of_memory
from kshot.errors import InternalError


def _numpy() -> None:
    np.empty(1 << 60, np.uint8)


def _raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def _wrapped() -> None:
    try:
        _numpy()
    except MemoryError as error:
        raise RuntimeError("could not grow the forest") from error


RUNS_OUT = {
    "numpy": _numpy,
    "numba": _raising(MemoryError("Allocation failed (probably too large).")),
    "polars": _raising(ComputeError("Cannot allocate memory (os error 12)")),
    "polars-panic": _raising(PanicException("The global thread pool has not been initialized: ThreadPoolBuildError")),
    "capacity": _raising(PanicException("capacity overflow")),
    "arrow": _raising(RuntimeError("malloc of size 4096 failed: out of memory")),
    "mmap": _raising(OSError(errno.ENOMEM, "Cannot allocate memory")),
    "loader": _raising(ImportError("libllvm.so: failed to map segment from shared object")),
    "threads": _raising(RuntimeError("can't start new thread")),
    "wrapped": _wrapped,
}


@pytest.mark.parametrize("way", RUNS_OUT)
def test_memory_that_runs_out_is_one_line_and_exit_2(run: Run, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr("kshot.store.ThreatStore.names", lambda self: RUNS_OUT[way]())
    monkeypatch.delenv("KSHOT_TRACEBACK", raising=False)
    ran = run("threats", "list")
    assert (ran.code, ran.out) == (2, "")
    assert one_line(ran.err).startswith("out of memory; give it more (ulimit -v")


def test_the_trace_is_shown_when_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kshot.store.ThreatStore.names", lambda self: _wrapped())
    monkeypatch.setenv("KSHOT_TRACEBACK", "1")
    ran = run("threats", "list")
    assert ran.code == 2
    assert "could not grow the forest" in ran.err and "Traceback" in ran.err


@pytest.mark.parametrize(
    "error",
    [
        ColumnNotFoundError("no column memory"),
        KeyError("out of memory"),
        ValueError("'out of memory' is no number"),
        OSError(errno.ENOSPC, "No space left on device"),
        InternalError("a column is missing"),
        PanicException("index out of bounds"),
    ],
    ids=repr,
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert not says_out_of_memory(error)


def test_a_circle_of_causes_ends() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert not says_out_of_memory(one)
