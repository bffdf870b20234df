"""`kshot alerts`: what a watch found, what an analyst says of it, and the way back."""

from __future__ import annotations

import datetime
import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.records.kept import KeptAlert
    from kshot.store.alerts import AlertStore

app = typer.Typer(no_args_is_help=True, help="List, show and label what kshot watch found.", rich_markup_mode="rich")

_Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="An alert's number.")]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", envvar="KSHOT_STORE", help="As told to kshot watch; default: a file in KSHOT_HOME."
    ),
]


class Verdict(StrEnum):
    """What may be said of an alert."""

    MALICIOUS = "malicious"
    BENIGN_TRIGGER = "benign-trigger"
    FALSE_POSITIVE = "false-positive"


@app.command("list")
def list_alerts(
    threat: Annotated[str | None, typer.Option("--threat", metavar="NAME", help="Only of this threat.")] = None,
    is_open: Annotated[bool, typer.Option("--open", help="Only those that may still grow.")] = False,
    heard: Annotated[bool, typer.Option("--unsuppressed", help="Without those that a suppression covers.")] = False,
    most: Annotated[int | None, typer.Option("--last", metavar="N", min=1, help="Only the newest N.")] = None,
    form: flags.FlowOutputFormat = None,
    output: flags.Output = None,
    store: StoreUrl = None,
) -> int:
    """List the alerts, the newest first.

    [bold]Examples[/]

    kshot alerts list --open

    kshot alerts list -o jsonl --output alerts.jsonl
    """
    with opened(store) as kept:
        alerts = kept.alerts(threat=threat, is_open=True if is_open else None, most=None if heard else most)
    if heard:
        alerts = [alert for alert in alerts if alert.suppressed_by is None][:most]
    told = flags.choose_format(form, output)
    if told == "table":
        _print_list(alerts, output)
    else:
        import polars as pl

        from kshot.cli.output import write_frames

        time = pl.Datetime("ns", "UTC")
        schema: dict[str, Any] = {
            "id": pl.UInt64, "threat": pl.String, "originator": pl.String, "responder": pl.String, "first_time": time,
            "last_time": time, "flows": pl.UInt64, "score": pl.Float64, "p_value": pl.Float64,
            "calibrated": pl.String, "attack": pl.List(pl.String), "reasons": pl.List(pl.String), "is_open": pl.Boolean,
            "suppressed_by": pl.UInt64,
        }  # fmt: skip
        rows = [asdict(alert) | _times(alert) for alert in alerts]
        frame = pl.DataFrame([[row[name] for name in schema] for row in rows], schema=schema, orient="row")
        write_frames([frame], frame.schema, told, output)
    return 0


@app.command("show")
def show(number: _Id, store: StoreUrl = None) -> int:
    """Show one alert: why, on what evidence, and what was said of it.

    [bold]Example[/]

    kshot alerts show 17
    """
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render
    from kshot.store.labels import LabelStore

    with opened(store) as kept:
        alert = kept.alert(number)
        labels = LabelStore(kept).of_alert(number)
    facts = Table.grid(padding=(0, 3, 0, 0))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    first, last = moment(alert.first_nanoseconds), moment(alert.last_nanoseconds)
    rows = [
        ("threat", alert.threat),
        ("parties", f"{alert.originator or 'many'} > {alert.responder or 'many'}"),
        ("segment", alert.segment or ""),
        ("first seen", f"{first:%Y-%m-%d %H:%M:%S}" if first else ""),
        ("last seen", f"{last:%Y-%m-%d %H:%M:%S}" if last else ""),
        ("records", f"{alert.flows:,}"),
        ("p-value", f"{alert.p_value:.2g}" if alert.p_value is not None else "none: measured on kshot's laboratory"),
        ("ATT&CK", " ".join(alert.attack)),
        ("state", _state(alert)),
        *(("why" if not place else "", reason) for place, reason in enumerate(alert.reasons)),
    ]
    for label in labels:
        note = f": {label.note}" if label.note else ""
        undone = " (taken back)" if label.is_undone else ""
        rows.append(("label", f"{label.verdict} of {label.threat}, {label.who}, {label.when:%Y-%m-%d}{note}{undone}"))
    for key, value in rows:
        if value:
            facts.add_row(Text(key), Text(clean(value)))
    evidence = [Text(clean(one.facts)) for one in alert.evidence]
    render([facts, Text(""), Text("the loudest records", style="bold"), *evidence], None)
    return 0


@app.command("label")
def label(
    number: _Id,
    verdict: Annotated[Verdict, typer.Argument(help="What it is.")],
    threat: Annotated[
        str | None,
        typer.Option("--threat", metavar="NAME", help="Which threat it teaches, if not the alert's own."),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")] = "",
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what it would change on the last 7 days, and change nothing.")
    ] = False,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference", metavar="FILE|NAME", help="With --preview: as told to kshot watch; default: the laboratory."
        ),
    ] = None,
    store: StoreUrl = None,
) -> int:
    """Say what an alert is; a running watch learns it with its next batch.

    malicious: its records become shots of the threat. benign-trigger (a true match of something harmless) and
    false-positive: they become examples of a benign look-alike, and records most like these no longer alarm.

    [bold]Examples[/]

    kshot alerts label 17 false-positive --preview

    kshot alerts label 17 false-positive --note "the backup server"

    kshot alerts label 18 malicious --threat new-botnet
    """
    from kshot.store.labels import LabelStore
    from kshot.store.threats import check_name

    if threat is not None:
        check_name(threat)
    now = datetime.datetime.now(datetime.UTC)
    with opened(store) as kept:
        labels = LabelStore(kept)
        if preview:
            from kshot.cli.label_preview import show_preview

            show_preview(kept, labels.draft(number, verdict.value, who=who(), when=now, threat=threat), reference)
            return 0
        told = labels.add(number, verdict.value, who=who(), when=now, threat=threat, note=note)
    count = len(told.features)
    learned = f"{count} record{'' if count == 1 else 's'} of it"
    Messages().summary(f"alert {number} is {told.verdict}: learned from {learned}")
    return 0


@app.command("undo")
def undo(number: _Id, store: StoreUrl = None) -> int:
    """Take back the newest label of an alert: the detector is again what it was without it.

    [bold]Example[/]

    kshot alerts undo 17
    """
    from kshot.store.labels import LabelStore

    with opened(store) as kept:
        told = LabelStore(kept).undo(number, who=who(), when=datetime.datetime.now(datetime.UTC))
    Messages().summary(f"the label {told.verdict} of alert {number} is taken back")
    return 0


def as_json(alert: KeptAlert) -> str:
    """An alert as one line of JSON, without its evidence."""
    from kshot.cli.clean import clean_json

    told = asdict(alert) | _times(alert) | ({"segment": alert.segment} if alert.segment else {})
    for name in ("evidence", "first_nanoseconds", "last_nanoseconds", "fingerprint"):
        del told[name]
    for name in ("first_time", "last_time"):
        told[name] = told[name].isoformat() if told[name] else None
    return clean_json(json.dumps(told, ensure_ascii=False))


@contextmanager
def opened(url: str | None) -> Iterator[AlertStore]:
    """The store at `url`, by default the file in KSHOT_HOME."""
    from kshot.store import kshot_home
    from kshot.store.alerts import AlertStore
    from kshot.store.database import default_url

    kept = AlertStore(url or default_url(kshot_home()))
    try:
        yield kept
    finally:
        kept.close()


def who() -> str:
    """Whose account this is."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in a container
        return "unknown"


def moment(nanoseconds: int | None) -> datetime.datetime | None:
    """A time of a record."""
    if nanoseconds is None:
        return None
    return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(microseconds=nanoseconds // 1_000)


def _times(alert: KeptAlert) -> dict[str, Any]:
    return {
        "first_time": moment(alert.first_nanoseconds),
        "last_time": moment(alert.last_nanoseconds),
        "attack": list(alert.attack),
        "reasons": list(alert.reasons),
    }


def _state(alert: KeptAlert) -> str:
    suppressed = f", suppressed by {alert.suppressed_by}" if alert.suppressed_by is not None else ""
    return ("open" if alert.is_open else "closed") + suppressed


def _print_list(alerts: list[KeptAlert], output: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import lasted, render

    if not alerts:
        Messages().note("there are no alerts; kshot watch makes them")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, right in (
        ("id", True), ("threat", False), ("originator > responder", False), ("first seen", False), ("lasted", True),
        ("records", True), ("state", False), ("ATT&CK", False),
    ):  # fmt: skip
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for alert in alerts:
        first, last = moment(alert.first_nanoseconds), moment(alert.last_nanoseconds)
        cells = [
            str(alert.id),
            alert.threat,
            f"{alert.originator or 'many'} > {alert.responder or 'many'}",
            f"{first:%Y-%m-%d %H:%M:%S}" if first else "",
            lasted((last - first).total_seconds()) if first and last else "",
            f"{alert.flows:,}",
            _state(alert),
            " ".join(alert.attack),
        ]
        table.add_row(*(Text(clean(cell)) for cell in cells))
    render([table], output)
