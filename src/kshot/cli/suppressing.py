"""`kshot alerts suppress`, `suppressions`, `unsuppress`, `purge`: what not to hear of, or to keep."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any

import typer

from kshot.cli import flags
from kshot.cli.alerts import StoreUrl, app, moment, opened, who
from kshot.cli.messages import Messages

ALERTS = app
"""The verbs of kshot alerts, those of this file among them."""
_UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 7 * 86_400}
_Scope = Annotated[str | None, typer.Option(metavar="ADDRESS", help="An address, or a network such as 10.0.0.0/8.")]


@app.command("suppress")
def suppress(
    threat: Annotated[str | None, typer.Option("--threat", metavar="NAME", help="Only of this threat.")] = None,
    originator: _Scope = None,
    responder: _Scope = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="A length such as 12h, 7d or 2w, or a date; default: for ever."),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why.")] = "",
    store: StoreUrl = None,
) -> int:
    """Say of which alerts nobody wants to hear: those of the past are marked, those to come are kept and not told.

    The detector does not change; to teach it, see kshot alerts label.

    [bold]Examples[/]

    kshot alerts suppress --threat port-scan --originator 10.0.5.7 --until 30d --note "our own scanner"

    kshot alerts suppress --responder 192.0.2.0/24
    """
    from kshot.store.suppressions import SuppressionStore

    for name, scope in (("--originator", originator), ("--responder", responder)):
        _check_scope(name, scope)
    now = datetime.datetime.now(datetime.UTC)
    until_nanoseconds = None if until is None else _until(until, now)
    with opened(store) as kept:
        told, marked = SuppressionStore(kept).add(
            who=who(), when=now, threat=threat, originator=originator, responder=responder,
            until_nanoseconds=until_nanoseconds, note=note,
        )  # fmt: skip
    plural = "" if marked == 1 else "s"
    lift = f"to lift it: kshot alerts unsuppress {told.id}"
    Messages().note(f"suppression {told.id}: {marked:,} alert{plural} of the past marked; {lift}")
    return 0


@app.command("suppressions")
def list_suppressions(
    lifted: Annotated[bool, typer.Option("--all", help="Also those that were lifted.")] = False,
    form: flags.FlowOutputFormat = None,
    output: flags.Output = None,
    store: StoreUrl = None,
) -> int:
    """List what is suppressed, by whom, why and until when.

    [bold]Example[/]

    kshot alerts suppressions
    """
    import polars as pl

    from kshot.store.suppressions import SuppressionStore

    with opened(store) as kept:
        found = SuppressionStore(kept).all(lifted=lifted)
    time = pl.Datetime("us", "UTC")
    schema: dict[str, Any] = {
        "id": pl.UInt64, "threat": pl.String, "originator": pl.String, "responder": pl.String, "until": time,
        "note": pl.String, "who": pl.String, "when": time, "is_lifted": pl.Boolean,
    }  # fmt: skip
    rows = [
        (one.id, one.threat, one.originator, one.responder, moment(one.until_nanoseconds), one.note, one.who, one.when,
         one.is_lifted)
        for one in found
    ]  # fmt: skip
    told = flags.choose_format(form, output)
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if told != "table":
        from kshot.cli.output import write_frames

        write_frames([frame], frame.schema, told, output)
    elif not rows:
        Messages().note("nothing is suppressed")
    else:
        _print(frame, output)
    return 0


@app.command("unsuppress")
def unsuppress(
    number: Annotated[int, typer.Argument(metavar="ID", min=1, help="A suppression's number.")], store: StoreUrl = None
) -> int:
    """Lift a suppression: the marks on past alerts go with it.

    [bold]Example[/]

    kshot alerts unsuppress 3
    """
    from kshot.store.suppressions import SuppressionStore

    with opened(store) as kept:
        _, marked = SuppressionStore(kept).lift(number, who=who(), when=datetime.datetime.now(datetime.UTC))
    Messages().note(f"suppression {number} is lifted; the marks of {marked:,} alerts changed")
    return 0


@app.command("purge")
def purge(
    older: Annotated[
        str, typer.Option("--older-than", metavar="LENGTH", help="Such as 90d: alerts that ended before then.")
    ],
    store: StoreUrl = None,
) -> int:
    """Delete closed alerts with their evidence, for good; labels, with the records that they teach from, stay.

    [bold]Example[/]

    kshot alerts purge --older-than 90d
    """
    now = datetime.datetime.now(datetime.UTC)
    before = nanoseconds(now) - seconds_of("--older-than", older) * 10**9
    with opened(store) as kept:
        count = kept.purge(before)
        from kshot.store.labels import note_in_audit

        note_in_audit(kept, who(), now, "purge", f"{count} alerts that ended before {moment(before):%Y-%m-%d %H:%M}")
    Messages().note(f"{count:,} alerts are deleted")
    return 0


def seconds_of(flag: str, told: str) -> int:
    """The length of `told`, such as 12h, 7d or 2w. Raises `UserError` for anything else."""
    from kshot.errors import UserError

    found = re.fullmatch(r"(\d{1,6})([mhdw])", told.strip())
    if found is None or not int(found[1]):
        raise UserError(f"{flag} {told!r} is no length of time; give minutes, hours, days or weeks: 30m, 12h, 90d, 2w")
    return int(found[1]) * _UNITS[found[2]]


def nanoseconds(when: datetime.datetime) -> int:
    """Since the Unix epoch."""
    return (when - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1) * 1_000


def _until(told: str, now: datetime.datetime) -> int:
    from kshot.errors import UserError

    if re.fullmatch(r"\d+[mhdw]", told.strip()):
        return nanoseconds(now) + seconds_of("--until", told) * 10**9
    try:
        when = datetime.datetime.fromisoformat(told)
    except ValueError as error:
        raise UserError(
            f"--until {told!r} is no time; give a length such as 7d, or a date such as 2026-12-31"
        ) from error
    return nanoseconds(when if when.tzinfo else when.replace(tzinfo=datetime.UTC))


def _check_scope(flag: str, scope: str | None) -> None:
    import ipaddress

    from kshot.errors import UserError

    try:
        if scope is not None:
            ipaddress.ip_network(scope, strict=False)
    except ValueError as error:
        raise UserError(f"{flag} {scope!r} is neither an address nor a network; give 10.0.5.7 or 10.0.0.0/8") from error


def _print(frame: Any, output: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in frame.columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in frame.iter_rows():
        cells = (
            "" if cell is None else f"{cell:%Y-%m-%d %H:%M}" if hasattr(cell, "year") else str(cell) for cell in row
        )
        table.add_row(*(Text(clean(cell)) for cell in cells))
    render([table], output)
