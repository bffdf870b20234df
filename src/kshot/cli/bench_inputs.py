"""What `kshot bench` was asked: checked before anything is measured; and what it says meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.bench import Cell, Loaded, OwnTable, Run
    from kshot.bench.running import Watcher
    from kshot.episodes import LabelledTable, Skipped

_TOLD_FAILURES = 5
_TOLD_FAMILIES = 3
_TOLD_CAPTURES = 3
_SAY_EVERY_S = 120.0


def protocols_for(names: list[str], captured: bool = False) -> list[str]:
    """Return the protocols asked for; `captured`: whether there are labelled captures.

    Raises:
        UserError: an unknown one, two that prepare tables differently, or one that lacks or cannot take captures.
    """
    from difflib import get_close_matches

    from kshot.bench import PROTOCOLS
    from kshot.errors import UserError

    for name in names:
        if name not in PROTOCOLS:
            near = get_close_matches(name, PROTOCOLS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(PROTOCOLS)}"
            raise UserError(f"there is no protocol {name}; {hint}")
    if "reference" in names and len(names) > 1:
        raise UserError("the reference protocol prepares tables in its own way; run it by itself")
    if captured and "reference" in names:
        raise UserError("the reference protocol is for tables; leave out --captures")
    if "packets" in names and not captured:
        raise UserError("the protocol packets needs labelled captures; give --captures DIR")
    return list(dict.fromkeys(names)) or ["packets" if captured else "headline"]


def whole_numbers(text: str) -> list[int]:
    """Return the numbers of shots.

    Raises:
        UserError: no number, or less than one shot.
    """
    from kshot.errors import UserError

    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--k {text}: give whole numbers, such as 1,5,10") from error
    if min(numbers) < 1:
        raise UserError(f"--k {text}: give at least one shot; --protocol zero-day is for none")
    return numbers


def learners_for(names: list[str], protocols: Sequence[str]) -> list[str]:
    """Return the learners asked for, or those that every installation has.

    Raises:
        UserError: one needs shots where there are none.
    """
    from kshot.bench import DEFAULT, WITHOUT_SHOTS
    from kshot.errors import UserError

    alone = list(protocols) == ["zero-day"]
    if not names:
        return list(WITHOUT_SHOTS if alone else DEFAULT)
    shy = [name for name in names if name not in WITHOUT_SHOTS]
    if alone and shy:
        raise UserError(f"{shy[0]} needs shots, and zero-day has none; there are {', '.join(WITHOUT_SHOTS)}")
    return names


def own_tables(paths: list[Path] | None, labels: list[str] | None, benign: list[str] | None) -> list[OwnTable]:
    """Pair each table with its label column and benign values.

    Raises:
        UserError: one lacks them, or their numbers do not fit.
    """
    from kshot.bench import OwnTable
    from kshot.errors import UserError

    paths, labels, benign = paths or [], labels or [], benign or []
    if paths and (not labels or not benign):
        raise UserError(f"{paths[0]}: say with --label which column names the family, and with --benign what is none")
    if (labels or benign) and not paths:
        raise UserError("--label and --benign are for a table of your own; give it with --table FILE")
    for flag, values in (("--label", labels), ("--benign", benign)):
        if paths and len(values) not in (1, len(paths)):
            raise UserError(
                f"{flag}: given {len(values)} times for {len(paths)} tables; give it once, or once for each"
            )
    return [
        OwnTable(
            path, labels[i if len(labels) > 1 else 0], tuple(flags.comma_list([benign[i if len(benign) > 1 else 0]]))
        )
        for i, path in enumerate(paths)
    ]


def cells(
    protocols: Sequence[str],
    loaded: Loaded,
    ks: list[int] | None,
    seeds: int,
    split: str,
    named: bool,
    messages: Messages,
) -> list[Cell]:
    """Lay out the cells; a table that was named and cannot take part at all is a mistake, one of all is left out."""
    from kshot.bench import PROTOCOLS, cells_of
    from kshot.episodes.splits import Split
    from kshot.errors import UserError

    splits: list[Split] = ["blocked", "iid"] if split == "both" else ["iid"] if split == "iid" else ["blocked"]
    tables: list[LabelledTable] = list(loaded.tables.values())
    skipped: list[Skipped] = []
    cells: list[Cell] = []
    for name in protocols:
        protocol = PROTOCOLS[name]
        chosen = [table for table in tables if table.name in loaded.captured] if name == "packets" else tables
        cells += cells_of(protocol, chosen, ks or protocol.ks, seeds, splits, skipped)
    used = {name for cell in cells for name in cell.tables}
    idle = [skip for skip in skipped if skip.table not in used]
    if idle and (named or not cells):
        raise UserError(idle[0].reason)
    for skip in dict.fromkeys(skipped):
        messages.note(f"left out: {skip.reason}")
    return list(dict.fromkeys(cells))


def say_dropped(loaded: Loaded, messages: Messages) -> None:
    """Say which columns were left out by default, and which captures."""
    for table, columns in loaded.dropped.items():
        messages.note(f"{table}: left out {', '.join(f'{column} ({why})' for column, why in columns.items())}")
    for table, captures in loaded.unread.items():
        more = f"; and {len(captures) - _TOLD_CAPTURES} more" if len(captures) > _TOLD_CAPTURES else ""
        messages.note(f"{table}: left out {'; '.join(captures[:_TOLD_CAPTURES])}{more}")


def say_run(run: Run, messages: Messages) -> None:
    """Say what was measured, what failed, and what could not be drawn."""
    known = run.total - run.measured - len(run.failures)
    messages.note(f"{run.total} cells: {run.measured} measured now, {known} known from before")
    for failure in [*run.failures][:_TOLD_FAILURES]:
        messages.fault(f"{failure.learner} on {failure.data}: {failure.reason}")
    more = len(run.failures) - _TOLD_FAILURES
    if more > 0:
        messages.fault(f"{more} more such failures")
    of_table: dict[str, dict[str, str]] = {}
    for skip in run.skipped:
        if skip.family:
            of_table.setdefault(skip.table, {})[skip.family] = skip.reason
    for table, families in of_table.items():
        some = "; ".join(f"{family} {why}" for family, why in [*families.items()][:_TOLD_FAMILIES])
        count = f"{len(families)} families" if len(families) > 1 else "1 family"
        messages.note(f"left out of {table}: {count} ({some}{'; ...' if len(families) > _TOLD_FAMILIES else ''})")


@contextlib.contextmanager
def progress(messages: Messages) -> Iterator[Watcher]:
    """Show a bar over cells and learners to a person; a log is told now and then."""
    if not messages.watched:
        told = [time.monotonic()]

        def say(done: int, total: int) -> None:
            if time.monotonic() - told[0] > _SAY_EVERY_S and done < total:
                told[0] = time.monotonic()
                messages.note(f"{done:,} of {total:,} cells")

        yield say
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("measuring"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show
