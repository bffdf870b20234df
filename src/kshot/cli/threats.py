"""`kshot threats`: what has been taught, and what ships with kshot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.records.threats import Threat
    from kshot.store import ThreatStore

app = typer.Typer(no_args_is_help=True, help="List, show, hand on and remove threats.", rich_markup_mode="rich")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A threat's name.")]


@app.command("list")
def list_threats(form: flags.FlowOutputFormat = None, output: flags.Output = None) -> int:
    """List the threats: the built-in ones, and those that you taught, which go before built-in ones of their name.

    [bold]Examples[/]

    kshot threats list

    kshot threats list -o jsonl
    """
    import polars as pl

    from kshot.errors import InputError
    from kshot.store import ThreatStore, builtin_names, builtin_threat, kshot_home

    store = ThreatStore(kshot_home())
    own = store.names()
    messages = Messages()
    rows: list[dict[str, Any]] = []
    damaged = 0
    for name in sorted({*own, *builtin_names()}):
        try:
            rows.append(_row(store.load(name), "taught") if name in own else _row(builtin_threat(name), "built-in"))
        except InputError as error:
            damaged += 1
            messages.fault(str(error))
    schema: dict[str, Any] = {
        "name": pl.String, "kind": pl.String, "shots": pl.UInt32, "columns": pl.UInt32, "severity": pl.String,
        "attack": pl.List(pl.String), "created": pl.String, "description": pl.String, "origin": pl.String,
    }  # fmt: skip
    told = flags.choose_format(form, output)
    frame = pl.DataFrame(rows, schema=schema)
    if told == "table":
        _print_list(frame, output, messages, damaged)
    else:
        from kshot.cli.output import write_frames

        write_frames([frame], frame.schema, told, output)
    return 2 if damaged else 0


@app.command("show")
def show(name: _Name) -> int:
    """Show one threat: where it came from, its shots, and its columns. A taught one goes before a built-in one.

    [bold]Example[/]

    kshot threats show dns-tunnel
    """
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render

    store, threat, is_own = _find(name)
    facts = Table.grid(padding=(0, 3, 0, 0))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    for key, value in (
        ("name", threat.name),
        ("taught on", "flows" if threat.kind == "flow" else "table rows"),
        ("shots", f"{threat.shots.height:,} of {threat.shots.width:,} columns"),
        ("severity", threat.severity),
        ("ATT&CK", " ".join(threat.attack)),
        ("description", threat.description),
        ("references", " ".join(threat.references)),
        ("learned from", threat.source),
        ("created", threat.created),
        ("fingerprint", threat.fingerprint),
        ("kept in", str(store.folder / name) if is_own else "kshot itself (built-in)"),
    ):
        if value:
            facts.add_row(Text(key), Text(clean(value)))
    render([facts, Text(""), _columns(threat)], None)
    return 0


@app.command("remove")
def remove(name: _Name) -> int:
    """Forget a threat.

    [bold]Example[/]

    kshot threats remove dns-tunnel
    """
    from kshot.errors import ThreatError
    from kshot.store import ThreatStore, builtin_names, kshot_home

    store = ThreatStore(kshot_home())
    if name in builtin_names() and name not in store.names():
        raise ThreatError(
            f"threat {name} is built in and stays; leave it out of a scan by naming the others with --threats"
        )
    store.remove(name)
    Messages().summary(f"threat {name} is forgotten")
    return 0


@app.command("export")
def export(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Threats, taught or built-in.")],
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="A file that ends in .zip, or a new folder.")
    ],
) -> int:
    """Write threats to a bundle to hand on: features only, no address, port, time or payload.

    [bold]Example[/]

    kshot threats export dns-tunnel beacon --output ours.zip
    """
    from kshot.store import write_bundle

    threats = [_find(name)[1] for name in dict.fromkeys(names)]
    write_bundle(threats, output)
    Messages().summary(f"{len(threats)} threat{'s' * (len(threats) != 1)} written to {output}")
    return 0


@app.command("import")
def import_(
    bundle: Annotated[Path, typer.Argument(metavar="FILE", help="A zip file or folder from kshot threats export.")],
    replace: Annotated[bool, typer.Option("--replace", help="Also threats of a name that you taught.")] = False,
) -> int:
    """Take threats from a bundle, after every file of it was found as its manifest says.

    [bold]Example[/]

    kshot threats import ours.zip
    """
    from kshot.errors import ThreatError
    from kshot.store import ThreatStore, kshot_home, read_bundle

    threats = read_bundle(bundle)
    store = ThreatStore(kshot_home())
    taken = [threat.name for threat in threats if threat.name in store.names()]
    if taken and not replace:
        raise ThreatError(f"{bundle}: threat {taken[0]} exists; give --replace to put the bundle's in its place")
    for threat in threats:
        store.save(threat, replace=replace)
    Messages().summary(f"took {', '.join(threat.name for threat in threats)}")
    return 0


def _find(name: str) -> tuple[ThreatStore, Threat, bool]:
    """The store, the threat of that name, and whether the user taught it."""
    from kshot.store import ThreatStore, builtin_names, builtin_threat, kshot_home

    store = ThreatStore(kshot_home())
    is_own = name in store.names() or name not in builtin_names()
    return store, store.load(name) if is_own else builtin_threat(name), is_own


def _row(threat: Threat, origin: str) -> dict[str, Any]:
    return {
        "name": threat.name,
        "origin": origin,
        "kind": threat.kind,
        "shots": threat.shots.height,
        "columns": threat.shots.width,
        "severity": threat.severity,
        "attack": list(threat.attack),
        "created": threat.created,
        "description": threat.description,
    }


def _print_list(frame: Any, output: Any, messages: Messages, damaged: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render

    if frame.height == 0 and not damaged:
        messages.note("no threat has been taught; teach one: kshot learn NAME --shots FILE --where EXPR")
    if frame.height == 0:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading, right in (
        ("name", False), ("origin", False), ("taught on", False), ("shots", True), ("severity", False),
        ("ATT&CK", False), ("created", False), ("description", False),
    ):  # fmt: skip
        table.add_column(
            heading, justify="right" if right else "left", overflow="fold", style="bold" if heading == "name" else ""
        )
    for row in frame.iter_rows(named=True):
        kind = "flows" if row["kind"] == "flow" else "table rows"
        cells = [
            row["name"],
            row["origin"],
            kind,
            f"{row['shots']:,}",
            row["severity"],
            " ".join(row["attack"]),
            row["created"][:10],
            row["description"],
        ]
        table.add_row(*(Text(clean(cell)) for cell in cells))
    render([table], output)


def _columns(threat: Threat) -> Any:
    """The shots' columns, each with the span of its values."""
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("column")
    table.add_column("least", justify="right")
    table.add_column("median", justify="right")
    table.add_column("greatest", justify="right")
    for series in threat.shots:
        if series.dtype.is_numeric() and series.drop_nulls().len():
            cells = [f"{float(value):.6g}" for value in (series.min(), series.median(), series.max())]  # type: ignore[arg-type]
        elif series.drop_nulls().len():
            commonest = series.drop_nulls().cast(str).mode().sort()[0]
            cells = ["", clean(str(commonest))[:60], ""]
        else:
            cells = ["", "missing", ""]
        table.add_row(Text(clean(series.name)), *(Text(cell) for cell in cells))
    return table
