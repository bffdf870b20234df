"""`kshot bench`: learners compared on labelled data sets, under fixed protocols."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kshot.bench import Roster

_TABLES, _WHAT, _RUN = "Tables", "What is measured", "The run"


def bench(
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="NAME,...", help="Imported data sets; default: all.", rich_help_panel=_TABLES),
    ] = None,
    table: Annotated[
        list[Path] | None,
        typer.Option("--table", metavar="FILE", help="A table of your own.", rich_help_panel=_TABLES),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label", metavar="COLUMN", help="Its label column (one for all or each).", rich_help_panel=_TABLES
        ),
    ] = None,
    benign: Annotated[
        list[str] | None,
        typer.Option("--benign", metavar="VALUE,...", help="Its labels of normal life.", rich_help_panel=_TABLES),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="COL,...", help="Columns to leave out besides.", rich_help_panel=_TABLES),
    ] = None,
    captures: Annotated[
        list[Path] | None,
        typer.Option(
            "--captures", metavar="DIR", help="Captures with ground truth, for packets.", rich_help_panel=_TABLES
        ),
    ] = None,
    learners: Annotated[
        list[str] | None,
        typer.Option(
            "--learners", metavar="NAME,...", help="Who takes part; see docs/bench.md.", rich_help_panel=_WHAT
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="DIR", help="What kshot train wrote, one folder a learner.", rich_help_panel=_WHAT
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[NAME.]KEY=VALUE",
            help="A setting of the learners (of one, with its NAME).",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME,...",
            help="headline, reference, zero-day, n-way, calibration, base-rates, site-change, noise, shots-to-detect, "
            "unlabelled-pool, packets.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    k: Annotated[
        str | None,
        typer.Option("--k", metavar="N,...", help="Shots; default: the protocol's, 1,5,10.", rich_help_panel=_WHAT),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Repetitions.", rich_help_panel=_WHAT)] = 3,
    split: Annotated[
        Literal["iid", "blocked", "both"],
        typer.Option("--split", help="Rows at random, or far apart in the file.", rich_help_panel=_WHAT),
    ] = "both",
    jobs: Annotated[
        int, typer.Option("--jobs", min=0, help="Processes; 0: one a processor.", rich_help_panel=_RUN)
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="Write results.parquet and summary.md here.", rich_help_panel=_RUN
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML report.", rich_help_panel=_RUN)
    ] = None,
    quiet: flags.Quiet = False,
) -> int:
    """Compare learners on labelled tables: one new threat, K shots, a benign reference.

    What was measured once is not measured again: a run that was stopped goes on where it was, and one with more
    learners, tables or seeds measures only these.

    [bold]Examples[/]

    kshot bench --data net_unsw_nb15_82k,web_xss --k 1,5 --report bench.html

    kshot bench --table logins.csv --label verdict --benign ok --learners extra-trees,kshot

    kshot bench --learners extra-trees,maml,kshot --weights priors/ --seeds 7 --output runs/seven
    """
    import os

    from kshot.bench import (
        Cache,
        Roster,
        as_markdown,
        curves_frame,
        load_tables,
        measures_frame,
        not_converged,
        results_frame,
        run_units,
        sections_of,
        trainings_frame,
        trainings_of,
        units_of,
        write_frame,
    )
    from kshot.cli.bench_inputs import (
        cells,
        learners_for,
        own_tables,
        progress,
        protocols_for,
        say_dropped,
        say_run,
        whole_numbers,
    )
    from kshot.cli.output import open_output
    from kshot.cli.train import key_values
    from kshot.errors import UserError
    from kshot.store import kshot_home

    messages = Messages(quiet)
    protocols = protocols_for(flags.comma_list(protocol), bool(captures))
    ks = whole_numbers(k) if k is not None else None
    roster = Roster(learners_for(flags.comma_list(learners), protocols), weights, key_values(settings, "--set"))
    reference = "reference" in protocols
    told = own_tables(table, label, benign)
    loaded = load_tables(
        flags.comma_list(data), told, flags.comma_list(drop), reference=reference, captures=captures or []
    )
    say_dropped(loaded, messages)
    laid_out = cells(protocols, loaded, ks, seeds, split, bool(data or table or captures), messages)
    units = units_of(laid_out, loaded.tables, roster)
    with progress(messages) as watcher:
        run = run_units(units, loaded.tables, Cache(kshot_home() / "bench"), jobs or os.cpu_count() or 1, watcher)
    say_run(run, messages)
    results, others, curves = results_frame(run.rows), measures_frame(run.rows), curves_frame(run.rows)
    if not run.rows:
        reasons = [*(f.reason for f in run.failures), *(s.reason for s in run.skipped)]
        raise UserError(f"nothing could be measured: {reasons[0] if reasons else 'no family has rows enough'}")
    trainings = trainings_frame(trainings_of(units))
    sections = sections_of(results, others, protocols, trainings)
    text = as_markdown(sections)
    with open_output(None) as out:
        out.write(text.encode())
    if output is not None:
        frames = {"results": results, "measures": others, "curves": curves, "trainings": trainings}
        for name, frame in frames.items():
            write_frame(output / f"{name}.parquet", frame)
        with open_output(output / "summary.md") as out:
            out.write(text.encode())
    if report is not None:
        from kshot.bench.page import render_bench

        with open_output(report) as out:
            lead = _lead(protocols, roster, seeds, not_converged(trainings))
            out.write(render_bench(results, others, curves, sections, lead).encode())
    return 1 if any(failure.ours for failure in run.failures) else 0


def _lead(protocols: Sequence[str], roster: Roster, seeds: int, unconverged: Sequence[str]) -> str:
    told = f"{', '.join(protocols)}; {', '.join(roster.names)}; {seeds} repetition{'' if seeds == 1 else 's'}."
    return f"{told} Not converged when their training ended: {', '.join(unconverged)}." if unconverged else told
