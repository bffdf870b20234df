"""`kshot explain`: one alert or record: why, how sure, and what would have to change."""

from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kshot.detection import Difference, Explanation
    from kshot.stream.pipeline import Records, ScanResult

_MEASURED = {"site": "the reference", "capture": "the input itself", "none": "kshot's laboratory, not your network"}


class ExplainFormat(StrEnum):
    """What an explanation looks like on its way out."""

    TABLE = "table"
    JSONL = "jsonl"


def explain(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="What was scanned; - is standard input.")],
    alert: Annotated[
        int | None, typer.Option("--alert", metavar="N", min=1, help="The Nth alert of the scan, from 1, the loudest.")
    ] = None,
    record: Annotated[
        int | None,
        typer.Option(
            "--record", metavar="N", min=1, help="Instead: the Nth record of the input (an alert's first_record)."
        ),
    ] = None,
    threats: flags.Threats = None,
    where: Annotated[str | None, typer.Option("--where", metavar="EXPR", help="As for kshot scan.")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="FILE", help="As for kshot scan.", rich_help_panel=flags.CALIBRATION),
    ] = None,
    false_alarm_rate: flags.FalseAlarmRate = None,
    alerts_per_day: Annotated[
        float | None,
        typer.Option("--alerts-per-day", metavar="N", help="As for kshot scan.", rich_help_panel=flags.CALIBRATION),
    ] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="As for kshot scan.", rich_help_panel=flags.CALIBRATION)
    ] = False,
    screen: Annotated[
        bool, typer.Option("--screen", help="As for kshot scan.", rich_help_panel=flags.CALIBRATION)
    ] = False,
    form: Annotated[
        ExplainFormat | None, typer.Option("-o", "--format", help="Default: table.", rich_help_panel="Output")
    ] = None,
    output: flags.Output = None,
    quiet: flags.Quiet = False,
    idle_timeout: flags.IdleTimeout = 120.0,
    active_timeout: flags.ActiveTimeout = 1800.0,
    no_tunnels: flags.NoTunnels = False,
) -> int:
    """Explain one alert: the columns that speak, the records most like it, and what would have to change.

    Give the flags of the scan: it is run again, and comes to the same verdicts. What would have to change is the fewest
    columns that, taken from a benign record, keep this one from alarming; found by search, and checked by scoring.

    [bold]Examples[/]

    kshot explain day2.pcap --alert 1

    kshot explain day2.pcap --reference quiet-week.pcap --record 4711 -o jsonl

    kshot explain requests.csv --threats sql-injection --alert 3
    """
    from kshot.cli import scan as scanning
    from kshot.errors import UserError
    from kshot.stream.metering import MeterOptions
    from kshot.stream.pipeline import scan as run_scan

    if (alert is None) == (record is None):
        raise UserError("give --alert N (of the scan's alerts, from 1) or --record N (of the input's records, from 1)")
    options = scanning.scan_options(false_alarm_rate, alerts_per_day, unknown, screen)
    messages = Messages(quiet)
    meter_options = MeterOptions(idle_timeout, active_timeout, not no_tunnels)
    wanted, laboratory, torn = scanning.load_threats(flags.comma_list(threats))
    records, benign = scanning.read_inputs(inputs, reference, meter_options, messages)
    result = run_scan(records, wanted, reference=benign, laboratory=laboratory, where=where, options=options)
    for note in result.notes:
        messages.note(note)
    told = _told(result, records, alert, record)
    if (form or _by_ending(output)) is ExplainFormat.JSONL:
        from kshot.cli.clean import clean_json
        from kshot.cli.output import write_text

        write_text([clean_json(json.dumps(told, ensure_ascii=False)) + "\n"], output)
    else:
        from kshot.cli.views import render

        render(_pages(told), output)
    damage = [*torn, *records.metering.damage, *(benign.metering.damage if benign else [])]
    for line in damage:
        messages.fault(line)
    return 2 if damage else 0


def _by_ending(output: Path | None) -> ExplainFormat:
    is_json = flags.choose_format(None, output) == "jsonl"
    return ExplainFormat.JSONL if is_json else ExplainFormat.TABLE


def _told(result: ScanResult, records: Records, alert: int | None, record: int | None) -> dict[str, Any]:
    """Everything about the record, plain enough for JSON."""
    from kshot.errors import UserError

    if alert is not None:
        if alert > result.alerts.height:
            count = result.alerts.height
            what = ("ranked record" if result.is_ranking else "alert") + "s" * (count != 1)
            raise UserError(f"--alert {alert}: the scan gave {count:,} {what}; give one of them")
        record = int(result.alerts["first_record"][alert - 1])
    found = (result.verdicts["row"] == record).arg_true()
    if not len(found):
        raise UserError(
            f"--record {record}: it is not among the {result.verdicts.height:,} records judged; count them from 1"
        )
    at = int(found[0])
    assert result.case is not None
    case = result.case(at)
    verdict = result.verdicts.row(at, named=True)
    calibrated = result.calibrated if verdict["p_value"] is not None else "none"
    parties = records.parties().row(int(record or 1) - 1, named=True)
    return {
        "alert": alert,
        "record": record,
        "threat": verdict["threat"],
        "originator": parties["originator"],
        "responder": parties["responder"],
        "is_alarm": bool(verdict["alarm"]) and not result.is_ranking,
        "score": verdict["score"],
        "p_value": _number(verdict["p_value"] if calibrated != "none" else case.p_value),
        "false_alarm_rate": result.false_alarm_rate,
        "calibrated": calibrated,
        "measured_on": case.measured_on,
        **_what_speaks(case),
    }


def _what_speaks(case: Explanation) -> dict[str, Any]:
    changes = case.counterfactual
    return {
        "columns": [
            {
                "column": reason.column,
                "value": _number(reason.value),
                "percentile": _number(reason.percentile),
                "robust_z": _number(reason.robust_z),
                "share_beyond": _number(reason.beyond),
                "as_the_shots": reason.as_the_shots,
                "text": reason.text,
            }
            for reason in case.reasons
        ],
        "nearest_shots": [_differences(case.differences[row]) for row in case.nearest_shots],
        "nearest_benign": [_differences(case.differences[row]) for row in case.nearest_benign],
        "would_not_alarm_with": None
        if changes is None
        else [
            {"column": change.column, "value": _number(change.value), "instead": _number(change.instead)}
            for change in changes.changes
        ],
    }


def _differences(of: list[Difference]) -> list[dict[str, Any]]:
    return [{"column": one.column, "value": _number(one.value), "other": _number(one.other)} for one in of]


def _number(value: Any) -> Any:
    """JSON has no nan, and float32 more digits than it knows."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _pages(told: dict[str, Any]) -> list[RenderableType]:
    """The same for a person."""
    from rich.text import Text

    from kshot.cli.clean import clean

    who = f", {told['originator'] or '?'} > {told['responder'] or '?'}" if told["originator"] else ""
    lines = [f"{told['threat']}: record {told['record']:,}{who}"]
    if told["p_value"] is not None:
        of = f"{told['measured_on']:,} records of {_MEASURED[told['calibrated']]}"
        rate = (
            "" if told["false_alarm_rate"] is None else f"; alerts are raised from {told['false_alarm_rate']:.2g} down"
        )
        lines.append(f"p-value {told['p_value']:.2g}: the share of {of} that look so much like a threat{rate}")
    else:
        lines.append("no p-value: nothing calibrates")
    lines += ["", "what speaks"]
    for one in told["columns"]:
        z = "" if one["robust_z"] is None else f" (robust z {one['robust_z']:.1f})"
        lines.append(f"  {one['text']}{z}")
    for name, title in (
        ("nearest_shots", "the nearest examples of the threat"),
        ("nearest_benign", "the nearest benign records"),
    ):
        lines += ["", title] if told[name] else []
        for number, apart in enumerate(told[name], 1):
            said = "; ".join(
                f"{one['column']} {_shown(one['value'])} here, {_shown(one['other'])} there" for one in apart
            )
            lines.append(f"  {number}. {said or 'as good as equal'}")
    lines += ["", "what would have to change for it not to alarm"]
    changes = told["would_not_alarm_with"]
    if changes is None:
        lines.append(
            "  not known: "
            + ("the nearest benign records alarm too" if told["p_value"] is not None else "there is no threshold")
        )
    elif not changes:
        lines.append("  nothing: it does not alarm")
    else:
        lines += [f"  {one['column']}: {_shown(one['instead'])} instead of {_shown(one['value'])}" for one in changes]
    return [Text("\n".join(clean(line) for line in lines))]


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
