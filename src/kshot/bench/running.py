"""Run the cells that are not measured yet, over processes; what was done is kept."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice

from kshot.bench.cache import Cache, fingerprint, key_of
from kshot.bench.contestants import BLIND, WITHOUT_SHOTS, Contestant, Roster, makes_use_of_pool
from kshot.bench.protocols import WITH_POOL, Cell
from kshot.bench.scoring import Outcome, Row, score_cell
from kshot.episodes import LabelledTable, Skipped
from kshot.errors import InternalError, UserError

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")
_WAITING = 2
"""Units handed to each process: one that it works on, one that waits."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One learner on one cell."""

    cell: Cell
    contestant: Contestant
    key: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A learner that could not do a cell; the run goes on."""

    learner: str
    data: str
    reason: str
    ours: bool
    """Whether it is a fault of the learner's code rather than of what it was given."""


@dataclass(slots=True)
class Run:
    """What a run found."""

    rows: list[Row] = field(default_factory=list)
    skipped: dict[Skipped, None] = field(default_factory=dict)
    failures: dict[Failure, None] = field(default_factory=dict)
    measured: int = 0
    """Units measured now; the others were known."""
    total: int = 0


Watcher = Callable[[int, int], None]
"""Is told how many units are done, and of how many."""


def units_of(cells: Iterable[Cell], tables: Mapping[str, LabelledTable], roster: Roster) -> list[Unit]:
    """Give each cell to each learner that can take part in it.

    Raises:
        UserError: a learner was trained on a cell's corpus.
    """
    prints = {name: fingerprint(table) for name, table in tables.items()}
    out = []
    for cell in cells:
        for name in (name for name in roster.names if _takes_part(name, cell)):
            contestant = roster.contestant(name, cell.corpora, cell.data)
            out.append(Unit(cell, contestant, key_of(cell, prints, contestant)))
    return out


def trainings_of(units: Iterable[Unit]) -> list[Contestant]:
    """Return the trained learners among `units`, each of its weights once, in the order of learners and folders."""
    found = {(unit.contestant.name, unit.contestant.weights): unit.contestant for unit in units}
    return [found[key] for key in sorted(found) if key[1]]


def _takes_part(name: str, cell: Cell) -> bool:
    if cell.question == "n-way":
        return name not in BLIND  # what sees no shot cannot tell threats apart
    if cell.split.endswith(WITH_POOL) and not makes_use_of_pool(name):
        return False
    return cell.shape.k_shot > 0 or name in WITHOUT_SHOTS


def run_units(
    units: Sequence[Unit],
    tables: Mapping[str, LabelledTable],
    cache: Cache,
    jobs: int = 1,
    watcher: Watcher | None = None,
) -> Run:
    """Measure what `cache` lacks and return all figures, in the order of `units`.

    Raises:
        OutputError: what was measured could not be kept.
        InternalError: a process was killed.
    """
    run = Run(total=len(units))
    known: dict[str, Outcome] = {}
    todo = []
    for unit in units:
        found = cache.get(unit.key)
        if found is None:
            todo.append(unit)
        else:
            known[unit.key] = found
    done = len(units) - len(todo)
    if watcher:
        watcher(done, len(units))
    for unit, outcome in _measure(todo, tables, jobs):
        if isinstance(outcome, Failure):
            run.failures[outcome] = None
        else:
            cache.put(unit.key, outcome)
            known[unit.key] = outcome
            run.measured += 1
        done += 1
        if watcher:
            watcher(done, len(units))
    for unit in units:
        if unit.key in known:
            run.rows += known[unit.key].rows
            run.skipped |= dict.fromkeys(known[unit.key].skipped)
    return run


def _measure(
    units: Sequence[Unit], tables: Mapping[str, LabelledTable], jobs: int
) -> Iterator[tuple[Unit, Outcome | Failure]]:
    if jobs == 1 or len(units) < 2:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(1):
            for unit in units:
                yield unit, _attempt(unit, _tables_for(unit, tables))
        return
    waiting: dict[Future[Outcome | Failure], Unit] = {}
    rest = iter(units)
    before = {child.pid for child in multiprocessing.active_children()}
    with _pool(min(jobs, len(units))) as pool:
        try:
            while True:
                for unit in islice(rest, _WAITING * jobs - len(waiting)):
                    waiting[pool.submit(_attempt, unit, _tables_for(unit, tables))] = unit
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool as error:
            raise InternalError("a process of the benchmark was killed; run again to go on where it was") from error
        except BaseException:
            # Whoever stops a run does not want to wait for units that are not kept.
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                if child.pid not in before:
                    child.terminate()
            raise


def _tables_for(unit: Unit, tables: Mapping[str, LabelledTable]) -> dict[str, LabelledTable]:
    return {name: tables[name] for name in unit.cell.tables}


def _attempt(unit: Unit, tables: dict[str, LabelledTable]) -> Outcome | Failure:
    try:
        return score_cell(unit.cell, tables, unit.contestant)
    except UserError as error:
        return Failure(unit.contestant.name, unit.cell.data, str(error), ours=False)
    except Exception as error:  # one learner's fault must not cost the others their hours
        told = " ".join(f"{type(error).__name__}: {error}".split())
        return Failure(unit.contestant.name, unit.cell.data, told, ours=True)


@contextlib.contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each: libraries read these variables when they are loaded."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _begin() -> None:
    """End with the parent, however it ends, and leave Ctrl-C to it."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: _end_with(sentinel), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
