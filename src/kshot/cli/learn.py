"""`kshot learn`: a threat from examples."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    from kshot.records.threats import Threat
    from kshot.stream.learning import LearnOptions, Lesson
    from kshot.stream.metering import MeterOptions

_THREAT = "About the threat"


def learn(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, '.', '_' and '-'.")],
    shots: Annotated[
        list[str],
        typer.Option("--shots", metavar="FILE", help="Where the examples are: captures or tables (may be repeated)."),
    ],
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="EXPR", help="Which records are the examples: a SQL condition over their columns."
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference", metavar="FILE", help="Benign records to compare with; default: the rest of --shots."
        ),
    ] = None,
    max_shots: Annotated[
        int, typer.Option("--max-shots", metavar="N", min=1, help="Thin more than N examples to N that stand for all.")
    ] = 100,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="COL,...", help="Columns of a table to leave out.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="COL,...", help="Columns to keep that look like an identifier, time, address or label."
        ),
    ] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="ID",
            help="ATT&CK technique, such as T1071.004 (may be repeated).",
            rich_help_panel=_THREAT,
        ),
    ] = None,
    description: Annotated[
        str,
        typer.Option(
            "--description", metavar="TEXT", help="One line for whoever reads its alerts.", rich_help_panel=_THREAT
        ),
    ] = "",
    severity: Annotated[
        str, typer.Option("--severity", metavar="LEVEL", help="low, medium, high or critical.", rich_help_panel=_THREAT)
    ] = "medium",
    replace: Annotated[
        bool, typer.Option("--replace", help="Learn a threat of that name anew.", rich_help_panel=_THREAT)
    ] = False,
    add: Annotated[
        bool, typer.Option("--add", help="Add the examples to a threat of that name.", rich_help_panel=_THREAT)
    ] = False,
    quiet: flags.Quiet = False,
    idle_timeout: flags.IdleTimeout = 120.0,
    active_timeout: flags.ActiveTimeout = 1800.0,
    no_tunnels: flags.NoTunnels = False,
) -> int:
    """Teach a threat from a few examples.

    Features are computed over the whole input, then --where chooses the examples; what it leaves is taken for benign
    unless --reference says better. Captures are kept as features alone: no address, port, time or payload.

    [bold]Examples[/]

    kshot learn dns-tunnel --shots day1.pcap --where "resp_port = 53 and orig_bytes > 5000" --attack T1071.004

    kshot learn sql-injection --shots requests.csv --where "label = 'sqli'" --max-shots 10

    kshot learn beacon --shots one-bot.pcap --reference quiet-day.pcap --add
    """
    from kshot.errors import ThreatError, UserError
    from kshot.intel import SEVERITIES, check_attack_ids
    from kshot.store import ThreatStore, builtin_names, builtin_threat, kshot_home
    from kshot.store.threats import check_name

    # What can be refused at once is refused before a long capture is read.
    check_name(name)
    attack_ids = check_attack_ids(attack or [])
    if severity not in SEVERITIES:
        raise UserError(f"--severity {severity!r} is none of {', '.join(SEVERITIES)}")
    if add and replace:
        raise UserError("--add and --replace exclude each other; give one")
    store = ThreatStore(kshot_home())
    exists = name in store.names()
    if exists and not (add or replace):
        raise ThreatError(f"threat {name} exists; give --add to add these examples to it or --replace to learn it anew")
    old = store.load(name) if exists and add else None
    if add and not exists and name in builtin_names():
        old = builtin_threat(name)

    from kshot.stream.learning import LearnOptions
    from kshot.stream.metering import MeterOptions

    messages = Messages(quiet)
    lesson, damage = _learn(
        name,
        shots,
        reference or [],
        MeterOptions(idle_timeout, active_timeout, not no_tunnels),
        LearnOptions(
            where=where,
            max_shots=max_shots,
            attack=attack_ids,
            description=description,
            severity=severity,
            drop=flags.comma_list(drop),
            keep=flags.comma_list(keep),
        ),
        messages,
    )
    threat = lesson.threat
    if old is not None:
        from kshot.intel import add_shots

        threat = add_shots(old, threat)
    store.save(threat, replace=exists)
    _tell(lesson, threat, old, messages)
    if not quiet:
        _report(lesson, threat, old)
    for line in damage:
        messages.fault(line)
    return 2 if damage else 0


def _learn(
    name: str, shots: list[str], reference: list[str], metering: MeterOptions, options: LearnOptions, messages: Messages
) -> tuple[Lesson, list[str]]:
    from kshot.stream.learning import learn as run_learn
    from kshot.stream.pipeline import read_records

    with messages.progress("reading", [*shots, *reference]) as on_progress:
        # Each file is one input: what happened around an example must not leak from one capture into another.
        examples = [(path, read_records([path], metering, on_progress)) for path in shots]
        benign = read_records(reference, metering, on_progress) if reference else None
    damage = [line for _, records in examples for line in records.metering.damage]
    damage += benign.metering.damage if benign is not None else []
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return run_learn(name, examples, reference=benign, options=options, created=now), damage


def _tell(lesson: Lesson, threat: Threat, old: Threat | None, messages: Messages) -> None:
    """What the user may want to act on."""
    if lesson.dropped:
        by_reason: dict[str, list[str]] = {}
        for column, reason in lesson.dropped.items():
            by_reason.setdefault(reason, []).append(column)
        told = "; ".join(f"{', '.join(columns)} ({reason})" for reason, columns in by_reason.items())
        messages.note(f"columns left out: {told}; keep one with --keep")
    if lesson.labelled > 1_000:
        messages.note(
            f"{lesson.labelled:,} labelled examples: an ordinary classifier trained on all of them may serve better"
        )
    if lesson.quality is not None:
        for shot in lesson.quality.odd:
            rank = lesson.quality.ranks[shot]
            messages.note(
                f"{lesson.shot_rows[shot]} looks odd: taught by the other examples, {1 - rank:.0%} of the reference "
                "looks more like them than it does; is it mislabelled?"
            )


def _report(lesson: Lesson, threat: Threat, old: Threat | None) -> None:
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render

    def count(number: int, what: str) -> str:
        return f"{number:,} {what}{'' if number == 1 else 's'}"

    learned = "flow" if threat.kind == "flow" else "row"
    line = Text.assemble(
        ("learned ", ""), (clean(threat.name), "bold green"), f" from {count(lesson.threat.shots.height, learned)}"
    )
    if lesson.labelled > lesson.threat.shots.height:
        line.append(f" that stand for {lesson.labelled:,}")
    if old is not None:
        line.append(f" beside {count(old.shots.height, 'shot')} it had ({threat.shots.height:,} now)")
    line.append(f", over {count(threat.shots.width, 'column')}")
    parts = [line]
    quality = lesson.quality
    if quality is not None:
        parts.append(
            Text(
                f"held out one after another, {quality.found:.0%} of the examples rank above 99 % of "
                f"{lesson.reference_rows:,} reference records (AUROC {quality.auroc:.3f})"
            )
        )
    elif lesson.reference_rows < 20:
        parts.append(Text("no reference to compare with: give --reference to see how well it separates"))
    else:
        parts.append(Text("one example cannot be held out: a second would show how well they separate"))
    render(parts, None)
