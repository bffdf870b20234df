"""`kshot scan`: captures and tables to alerts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.records.threats import Threat
    from kshot.stream.laboratory import Laboratory
    from kshot.stream.metering import MeterOptions
    from kshot.stream.pipeline import Records, ScanOptions, ScanResult


class FailOn(StrEnum):
    """What makes the exit code 3."""

    ALERT = "alert"


def scan(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Captures, or tables (CSV, TSV, Parquet, JSONL); - is standard input."),
    ],
    threats: flags.Threats = None,
    where: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help="Only records for which this SQL condition holds.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="FILE",
            help="Benign records of this network (may be repeated); default: the input's own.",
            rich_help_panel=flags.CALIBRATION,
        ),
    ] = None,
    false_alarm_rate: flags.FalseAlarmRate = None,
    alerts_per_day: Annotated[
        float | None,
        typer.Option(
            "--alerts-per-day",
            metavar="N",
            help="Instead: how many false alerts a day are bearable.",
            rich_help_panel=flags.CALIBRATION,
        ),
    ] = None,
    unknown: Annotated[
        bool,
        typer.Option(
            "--unknown", help="Also what is like no threat and unlike the reference.", rich_help_panel=flags.CALIBRATION
        ),
    ] = False,
    screen: Annotated[
        bool,
        typer.Option(
            "--screen",
            help="Judge only what a small model lets pass: for much traffic; misses a little more.",
            rich_help_panel=flags.CALIBRATION,
        ),
    ] = False,
    form: flags.OutputFormat = None,
    output: flags.Output = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(
            "--verdicts",
            metavar="FILE",
            help="Also write a verdict for every record (.csv, .parquet or .jsonl).",
            rich_help_panel="Output",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Also write a page for the browser (.html), all in one file.",
            rich_help_panel="Output",
        ),
    ] = None,
    fail_on: Annotated[
        FailOn | None, typer.Option("--fail-on", help="Exit with 3 when there are alerts.", rich_help_panel="Output")
    ] = None,
    quiet: flags.Quiet = False,
    idle_timeout: flags.IdleTimeout = 120.0,
    active_timeout: flags.ActiveTimeout = 1800.0,
    no_tunnels: flags.NoTunnels = False,
) -> int:
    """Find the threats that were taught and the built-in ones, at a false-alarm rate of your choice.

    Records of one threat between the same parties become one alert. Without --reference the input calibrates itself,
    and built-in threats are measured on kshot's laboratory.

    [bold]Examples[/]

    kshot scan day2.pcap

    kshot scan day2.pcap --reference quiet-week.pcap --false-alarm-rate 0.0001 -o eve --output alerts.json

    kshot scan requests.csv --threats sql-injection --fail-on alert
    """
    from kshot.stream.metering import MeterOptions
    from kshot.stream.pipeline import scan as run_scan

    options = scan_options(false_alarm_rate, alerts_per_day, unknown, screen)
    messages = Messages(quiet)
    meter_options = MeterOptions(idle_timeout, active_timeout, not no_tunnels)
    wanted, laboratory, torn = load_threats(flags.comma_list(threats))
    records, benign = read_inputs(inputs, reference, meter_options, messages)
    result = run_scan(records, wanted, reference=benign, laboratory=laboratory, where=where, options=options)
    for note in result.notes:
        messages.note(note)
    known = [*wanted, *(laboratory.threats if laboratory else ())]
    _write(result, records, known, flags.choose_format(form, output), output, messages)
    if verdicts is not None:
        from kshot.cli.output import write_frames

        told = flags.choose_format(None, verdicts)
        write_frames([result.verdicts], result.verdicts.schema, "csv" if told in ("table", "eve") else told, verdicts)
    if report is not None:
        from kshot.cli.output import write_text
        from kshot.report import render_page, report_of_scan

        title = ", ".join(Path(name).name for name in inputs)
        page = report_of_scan(records, known, result, reference=benign, title=title, made_by="kshot scan")
        write_text([render_page(page)], report)
    damage = [*torn, *records.metering.damage, *(benign.metering.damage if benign else [])]
    for line in damage:
        messages.fault(line)
    if fail_on is FailOn.ALERT and result.alerts.height and not result.is_ranking:
        return 3
    return 2 if damage else 0


def scan_options(rate: float | None, per_day: float | None, unknown: bool, screen: bool = False) -> ScanOptions:
    """What the flags ask for, if it makes sense."""
    from kshot.errors import UserError
    from kshot.stream.pipeline import ScanOptions

    if rate is not None and per_day is not None:
        raise UserError("--false-alarm-rate and --alerts-per-day say the same thing twice; give one")
    if rate is not None and not 0 < rate < 1:
        raise UserError(f"--false-alarm-rate {rate:g} is not between 0 and 1")
    if per_day is not None and not per_day > 0:
        raise UserError(f"--alerts-per-day {per_day:g} is not above 0")
    if screen and rate is not None and rate > 0.01:
        raise UserError(f"--screen is for rates up to 0.01, not {rate:g}; leave one of them out")
    return ScanOptions(false_alarm_rate=rate, alerts_per_day=per_day, unknown=unknown, screen=screen)


def load_threats(names: list[str]) -> tuple[list[Threat], Laboratory | None, list[str]]:
    """What to look for: the user's threats, the built-in ones (by name, if any are named; the user's go before).

    And a line for each of the user's that cannot be read: one torn file must not blind a sensor.
    """
    from kshot.errors import InputError
    from kshot.store import FittedStore, ThreatStore, builtin_names, builtin_reference, builtin_threat, kshot_home
    from kshot.stream.keeping import Keeper
    from kshot.stream.laboratory import Laboratory

    store = ThreatStore(kshot_home())
    own = store.names()
    threats: list[Threat] = []
    torn: list[str] = []
    if names:
        threats = [store.load(name) for name in dict.fromkeys(names) if name in own or name not in builtin_names()]
    else:
        for name in own:
            try:
                threats.append(store.load(name))
            except InputError as error:
                torn.append(str(error))
    builtin = [name for name in builtin_names() if name not in own and (not names or name in names)]
    if not builtin and not (builtin_names() and any(threat.kind == "flow" for threat in threats)):
        return threats, None, torn
    keeper = Keeper(FittedStore(kshot_home()))
    return threats, Laboratory([builtin_threat(name) for name in builtin], builtin_reference()[0], keeper), torn


def read_inputs(
    inputs: Sequence[str], reference: Sequence[str] | None, options: MeterOptions, messages: Messages
) -> tuple[Records, Records | None]:
    """The records to judge, and those of the reference if there is one."""
    from kshot.stream.pipeline import read_records

    with messages.progress("reading", list(inputs)) as on_progress:
        records = read_records(inputs, options, on_progress)
    if not reference:
        return records, None
    with messages.progress("reading the reference", list(reference)) as on_progress:
        return records, read_records(reference, options, on_progress)


def _write(
    result: ScanResult, records: Records, threats: Sequence[Threat], form: str, output: Path | None, messages: Messages
) -> None:
    ranked = result.is_ranking
    if form == "eve":
        from kshot.cli.eve import eve_lines
        from kshot.cli.output import write_text

        write_text(eve_lines(result.alerts, records.frame, {threat.name: threat for threat in threats}), output)
    elif form == "table":
        from kshot.cli.views import alerts_table, render

        if result.alerts.height:
            render([alerts_table(result.alerts, ranked=ranked)], output)
        elif output is not None:
            render([], output)
    else:
        from kshot.cli.output import write_frames
        from kshot.records.alerts import ALERT_SCHEMA

        write_frames([result.alerts], ALERT_SCHEMA, form, output)
    if not ranked:
        alerts, alarmed = result.alerts.height, int(result.verdicts["alarm"].sum())
        where = {"site": "the reference", "capture": "the input itself", "none": "kshot's laboratory"}
        messages.summary(
            f"{alerts:,} alert{'s' * (alerts != 1)} from {alarmed:,} of {result.verdicts.height:,} records, "
            f"at a false-alarm rate of {result.false_alarm_rate:.2g} calibrated on {where[result.calibrated]}"
        )
