"""`kshot flows`: captures to flow records, the meter alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kshot.cli import flags
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    import polars as pl

    from kshot.stream.metering import Metering


def flows(
    captures: Annotated[
        list[str], typer.Argument(metavar="CAPTURE...", help="pcap or pcapng, plain or packed; - is standard input.")
    ],
    form: flags.FlowOutputFormat = None,
    output: flags.Output = None,
    stats: Annotated[
        Path | None,
        typer.Option(
            "--stats", metavar="FILE", help="Write what became of every packet, as JSON.", rich_help_panel="Output"
        ),
    ] = None,
    quiet: flags.Quiet = False,
    idle_timeout: flags.IdleTimeout = 120.0,
    active_timeout: flags.ActiveTimeout = 1800.0,
    no_tunnels: flags.NoTunnels = False,
) -> int:
    """Meter captures into bidirectional flow records.

    The table shows the columns that people read; the other formats hold all of them. Captures that follow each other
    in time are one stream.

    [bold]Examples[/]

    kshot flows day1.pcap

    kshot flows day1.pcapng.gz --output day1.parquet --stats day1.json

    tcpdump -w - | kshot flows - -o jsonl | head
    """
    from kshot.records.flows import FLOW_SCHEMA
    from kshot.stream.metering import Metering, MeterOptions, meter

    messages = Messages(quiet)
    options = MeterOptions(idle_timeout, active_timeout, not no_tunnels)
    metering = Metering()
    with messages.progress("metering", captures) as on_progress:
        frames = meter(captures, options, on_progress, metering)
        _write(frames, FLOW_SCHEMA, flags.choose_format(form, output), output)
    if stats is not None:
        _write_stats(metering, stats)
    _summarize(metering, messages)
    for line in metering.damage:
        messages.fault(line)
    return 2 if metering.damage else 0


def _write(frames: Iterator[pl.DataFrame], schema: dict[str, pl.DataType], form: str, output: Path | None) -> None:
    from kshot.cli.output import write_frames, write_text
    from kshot.cli.views import flow_lines

    if form == "table":
        write_text(flow_lines(frames), output)
    else:
        write_frames(frames, schema, form, output)


def _write_stats(metering: Metering, stats: Path) -> None:
    from kshot.cli.output import open_output
    from kshot.stream.metering import COUNTERS

    told = {name: metering.counters[name] for name in COUNTERS} | {
        "captures": [
            {"path": report.path, "packets_read": report.packets_read, "damage": report.damage}
            for report in metering.captures
        ]
    }
    with open_output(stats) as file:
        file.write(json.dumps(told, indent=2).encode() + b"\n")


def _summarize(metering: Metering, messages: Messages) -> None:
    counters = metering.counters
    others = [
        f"{counters[name]:,} {words}"
        for name, words in (
            ("non_ip", "not IP"),
            ("malformed", "malformed"),
            ("truncated", "cut short"),
            ("shed", "shed"),
            ("evicted", "flows evicted"),
        )
        if counters[name]
    ]
    messages.summary(
        f"{counters['packets_read']:,} packets, {counters['flows']:,} flows"
        + (f" ({', '.join(others)})" if others else "")
    )
