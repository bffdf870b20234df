"""`kshot reference`: what a network is like when nothing is wrong, learned on site."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.store.references import ReferenceStore
    from kshot.stream.budget import GroupSizes
    from kshot.stream.learned_reference import LearnedReference
    from kshot.stream.metering import MeterOptions
    from kshot.stream.pipeline import Records

app = typer.Typer(
    no_args_is_help=True, help="Learn, list and remove references of this network.", rich_markup_mode="rich"
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The reference's name.")]


@app.command("build")
def build(
    name: _Name,
    source: Annotated[
        list[str], typer.Option("--from", metavar="FILE", help="Captures, logs or flows (may be repeated).")
    ],
    days: Annotated[
        float | None,
        typer.Option("--days", metavar="N", min=0.001, help="Only the last N days, by the records' own time."),
    ] = None,
    add: Annotated[
        bool, typer.Option("--add", help="Go on with the reference of that name, record by record.")
    ] = False,
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network",
            metavar="NET,...",
            help="Only records of hosts in these networks; kshot watch --segment NAME then knows them.",
        ),
    ] = None,
    threats: flags.Threats = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            envvar="KSHOT_STORE",
            help="Whose alerts to leave out; default: the file in KSHOT_HOME, if there is one.",
        ),
    ] = None,
    idle_timeout: flags.IdleTimeout = 120.0,
    active_timeout: flags.ActiveTimeout = 1800.0,
    no_tunnels: flags.NoTunnels = False,
    quiet: flags.Quiet = False,
) -> int:
    """Learn what is normal here from traffic that may hold attacks.

    Records of alerts that nobody called harmless are left out, and what forms a group like the shots of a threat. Of
    the rest up to 22,000 are kept, each with the same chance. Payloads are not kept.

    [bold]Examples[/]

    kshot reference build office --from /opt/zeek/logs/current --days 7

    kshot watch --zeek /opt/zeek/logs/current --reference office

    kshot reference build servers --from /opt/zeek/logs/current --network 10.1.0.0/16,fd00:1::/32
    """
    import numpy as np

    from kshot.cli.scan import load_threats
    from kshot.features import fingerprint
    from kshot.store import kshot_home
    from kshot.store.references import KeptReference, ReferenceStore
    from kshot.store.threats import check_name
    from kshot.stream.learned_reference import as_kept, learn_reference
    from kshot.stream.metering import MeterOptions
    from kshot.stream.pipeline import read_records
    from kshot.stream.segments import Segments

    messages = Messages(quiet)
    check_name(name)
    kept = ReferenceStore(kshot_home())
    networks = flags.comma_list(network)
    Segments({name: networks})  # what is no network is told before anything is read
    before = _before(kept, name) if add else None
    if before is not None:
        networks = _same(name, networks, list(kept.about(name).get("networks", ())))
    own, laboratory, torn = load_threats(flags.comma_list(threats))
    for line in torn:
        messages.fault(line)
    with messages.progress("reading", source) as on_progress:
        records = read_records(source, MeterOptions(idle_timeout, active_timeout, not no_tunnels), on_progress)
    if networks:
        records = _inside(records, name, networks)
    rng = np.random.default_rng(0)
    alerts = _alerts(store)
    learned = learn_reference(records, own, laboratory, rng, days=days, alerts=alerts, before=before)
    frame = as_kept(learned.records)
    names = sorted({threat.name for threat in (*own, *(laboratory.threats if laboratory else ()))})
    about = {
        "fingerprint": fingerprint(), "seen": learned.seen, "records": len(learned.records), "threats": names,
        "built": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "of_alerts": learned.of_alerts, "taken_for_attacks": learned.taken_for_attacks, "days": days,
        "sizes": None if learned.sizes is None else learned.sizes.told(), "networks": networks,
    }  # fmt: skip
    kept.save(name, KeptReference(frame, learned.records.features, about))
    messages.note(_told(name, learned))
    return 0


@app.command("list")
def list_references(form: flags.FlowOutputFormat = None, output: flags.Output = None) -> int:
    """List the references that were learned.

    [bold]Example[/]

    kshot reference list
    """
    import polars as pl

    from kshot.store import kshot_home
    from kshot.store.references import ReferenceStore

    kept = ReferenceStore(kshot_home())
    schema: dict[str, Any] = {
        "name": pl.String, "built": pl.String, "records": pl.UInt64, "seen": pl.UInt64, "of_alerts": pl.UInt64,
        "taken_for_attacks": pl.UInt64, "networks": pl.List(pl.String),
    }  # fmt: skip
    rows = [{"name": name, "networks": [], **kept.about(name)} for name in kept.names()]
    frame = pl.DataFrame([[row.get(column) for column in schema] for row in rows], schema=schema, orient="row")
    told = flags.choose_format(form, output)
    if told != "table":
        from kshot.cli.output import write_frames

        write_frames([frame], frame.schema, told, output)
    elif not rows:
        Messages().note("there are no references; make one: kshot reference build NAME --from FILE")
    else:
        _print(frame, output)
    return 0


@app.command("remove")
def remove(name: _Name) -> int:
    """Forget a reference.

    [bold]Example[/]

    kshot reference remove office
    """
    from kshot.store import kshot_home
    from kshot.store.references import ReferenceStore

    ReferenceStore(kshot_home()).remove(name)
    Messages().summary(f"reference {name} is removed")
    return 0


@dataclass(frozen=True, slots=True)
class SiteReference:
    """What `--reference` names."""

    records: Records
    screened: list[str] | None = None
    """Threats that a learned one was looked through for."""
    sizes: GroupSizes | None = None
    """Of all that a learned one is a sample of."""
    networks: tuple[str, ...] = ()
    """Of which a learned one is; none: of all."""


def read_reference(told: Sequence[str], meter: MeterOptions) -> SiteReference:
    """The records that `--reference` names, files or a learned reference, and what is known of them.

    Raises:
        UserError, InputError: there is no such file or reference, or it cannot be read.
    """
    from kshot.errors import UserError
    from kshot.store import kshot_home
    from kshot.store.references import ReferenceStore
    from kshot.stream.budget import GroupSizes
    from kshot.stream.pipeline import read_records

    kept = ReferenceStore(kshot_home())
    named = [one for one in told if not Path(one).exists() and one in kept.names()]
    if not named:
        return SiteReference(read_records(told, meter))
    if len(told) > 1:
        raise UserError(f"--reference {named[0]} is learned: give it alone, or files")
    records, about = _learned(kept, named[0])
    sizes = None if about.get("sizes") is None else GroupSizes.heard(about["sizes"])
    return SiteReference(records, list(about.get("threats", ())), sizes, tuple(about.get("networks", ())))


def _same(name: str, told: list[str], before: list[str]) -> list[str]:
    """The networks of a reference that is gone on with."""
    from kshot.errors import UserError

    if told and set(told) != set(before):
        raise UserError(f"reference {name} is of {','.join(before) or 'all networks'}; build it anew without --add")
    return before


def _inside(records: Records, name: str, networks: list[str]) -> Records:
    """The records of hosts in `networks`."""
    import polars as pl

    from kshot.errors import UserError
    from kshot.stream.segments import Segments

    inside = Segments({name: networks}).of(records.parties()) == name
    if not inside.any():
        raise UserError(f"none of the {len(records):,} records lies in {','.join(networks)}; nothing to learn from")
    return records.filter(pl.Series(inside, dtype=pl.Boolean))


def _before(kept: ReferenceStore, name: str) -> LearnedReference:
    """The reference to go on with."""
    from kshot.stream.learned_reference import LearnedReference

    records, about = _learned(kept, name)
    return LearnedReference(records, int(about.get("seen", len(records))), 0, 0)


def _learned(kept: ReferenceStore, name: str) -> tuple[Records, Mapping[str, Any]]:
    """A learned reference, and what is known of it."""
    from kshot.errors import UserError
    from kshot.features import fingerprint
    from kshot.stream.pipeline import Records

    found = kept.load(name)
    if found.about.get("fingerprint") != fingerprint():
        raise UserError(
            f"reference {name} is of another version of the features; build it again: kshot reference build {name}"
        )
    return Records("flow", found.frame, found.features), found.about


def _alerts(url: str | None) -> list[Any]:
    """Alerts that nobody called harmless."""
    from kshot.store import kshot_home

    if url is None and not (kshot_home() / "watch.sqlite").exists():
        return []
    from kshot.store.alerts import AlertStore
    from kshot.store.database import default_url
    from kshot.store.labels import LabelStore

    store = AlertStore(url or default_url(kshot_home()))
    try:
        harmless = {label.alert for label in LabelStore(store).standing() if label.verdict != "malicious"}
        return [alert for alert in store.alerts() if alert.id not in harmless]
    finally:
        store.close()


def _told(name: str, learned: LearnedReference) -> str:
    return (
        f"reference {name}: {len(learned.records):,} records of {learned.seen:,}; left out: {learned.of_alerts:,} of "
        f"alerts, {learned.taken_for_attacks:,} like a hidden attack"
    )


def _print(frame: Any, output: Path | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in frame.columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(Text(clean(", ".join(cell) if isinstance(cell, list) else str(cell))) for cell in row))
    render([table], output)
