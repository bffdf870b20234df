"""`kshot flows`: captures to flow records, the meter alone."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kshot.cli import flags, live
from kshot.cli.messages import Messages

if TYPE_CHECKING:
    import polars as pl

    from kshot.sources.interface import LiveInterface
    from kshot.stream.metering import Metering, MeterOptions


def flows(
    captures: Annotated[
        list[str] | None,
        typer.Argument(metavar="CAPTURE...", help="pcap or pcapng, plain or packed; - is standard input."),
    ] = None,
    interface: live.Interface = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            metavar="S",
            min=0.1,
            help="Listen for S seconds; default: until INT.",
            rich_help_panel=live.PANEL,
        ),
    ] = None,
    ring: live.Ring = 128,
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
    """Meter captures, or what passes on a network interface, into bidirectional flow records.

    The table shows the columns that people read; the other formats hold all of them. Captures that follow each other
    in time are one stream.

    [bold]Examples[/]

    kshot flows day1.pcap

    kshot flows day1.pcapng.gz --output day1.parquet --stats day1.json

    tcpdump -w - | kshot flows - -o jsonl | head

    kshot flows --interface eth0 --duration 60 --output minute.parquet
    """
    from kshot.errors import UserError

    if (interface is None) == (not captures):
        raise UserError("give captures or --interface IF; see: kshot flows --help")
    if interface is None and duration is not None:
        raise UserError("--duration is for --interface; captures are read to their end")
    # Before anything starts threads, which would keep the rights that are dropped here.
    packets = live.packet_socket(interface) if interface is not None else None

    from kshot.records.flows import FLOW_SCHEMA
    from kshot.stream.metering import Metering, MeterOptions, meter

    messages = Messages(quiet)
    options = MeterOptions(idle_timeout, active_timeout, not no_tunnels)
    metering = Metering()
    with messages.progress("metering", captures or []) as on_progress:
        if interface is not None and packets is not None:
            from kshot.sources.interface import LiveInterface

            frames = _heard(LiveInterface(interface, packets, ring << 20), options, duration, messages, metering)
        else:
            frames = meter(captures or [], options, on_progress, metering)
        _write(frames, FLOW_SCHEMA, flags.choose_format(form, output), output)
    if stats is not None:
        _write_stats(metering, stats)
    _summarize(metering, messages)
    for line in metering.damage:
        messages.fault(line)
    return 2 if metering.damage else 0


def _heard(
    interface: LiveInterface, options: MeterOptions, seconds: float | None, messages: Messages, metering: Metering
) -> Iterator[pl.DataFrame]:
    """Flows of an interface until `seconds` are over, or INT or TERM; those still open come last."""
    from kshot.stream.followed_interface import FollowedInterface

    over = threading.Event()
    old = {number: signal.signal(number, lambda *_: over.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    source = FollowedInterface(interface, options)
    try:
        source.resume(None)
        messages.note(f"listening on {interface.interface}")
        until = None if seconds is None else time.monotonic() + seconds
        while not over.is_set() and (until is None or time.monotonic() < until):
            piece = source.read()
            for line in source.problems():
                messages.fault(line)
            if piece is not None:
                yield piece.frame
        for piece in source.rest():
            yield piece.frame
        metering.counters.update(source.counters())
    finally:
        source.close()
        for number, handler in old.items():
            signal.signal(number, handler)


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

    live_too = {name: count for name, count in metering.counters.items() if name not in COUNTERS}
    told = (
        {name: metering.counters[name] for name in COUNTERS}
        | live_too
        | {
            "captures": [
                {"path": report.path, "packets_read": report.packets_read, "damage": report.damage}
                for report in metering.captures
            ]
        }
    )
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
