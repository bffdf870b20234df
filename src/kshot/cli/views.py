"""How flows, alerts and threats look to a person."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kshot.cli.clean import clean

if TYPE_CHECKING:
    from rich.console import RenderableType

PROTOCOLS = {
    1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 41: "IPv6", 47: "GRE", 50: "ESP", 51: "AH", 58: "IPv6-ICMP", 88: "EIGRP",
    89: "OSPF", 103: "PIM", 112: "VRRP", 132: "SCTP",
}  # fmt: skip
"""Names of the IP protocol numbers that are seen (IANA, Assigned Internet Protocol Numbers)."""

_FLOW_VIEW = ("first seen", "seconds", "proto", "originator", "responder", "state", "packets", "payload bytes")
_FLOW_RIGHT = {"seconds", "packets", "payload bytes"}
_FLOW_LEAST = (23, 9, 5, 21, 21, 5, 11, 17)
"""Widths that fit most IPv4 flows; the first batch may widen them, later ones keep them."""


def protocol_name() -> pl.Expr:
    """An expression: the name of `protocol`, or its number."""
    return (
        pl.col("protocol")
        .cast(pl.UInt32)
        .replace_strict(PROTOCOLS, default=pl.col("protocol").cast(pl.String), return_dtype=pl.String)
    )


def flow_lines(frames: Iterable[pl.DataFrame]) -> Iterator[str]:
    """Give a heading and then the lines of each frame, in columns."""
    widths: list[int] = []
    for frame in frames:
        if frame.height == 0:
            continue
        view = _flow_view(frame)
        if not widths:
            longest = (max(map(len, view[name])) for name in _FLOW_VIEW)
            widths = [max(pair) for pair in zip(_FLOW_LEAST, longest, strict=True)]
            yield (
                "  ".join(_pad_text(name, name, width) for name, width in zip(_FLOW_VIEW, widths, strict=True)).rstrip()
                + "\n"
            )
        padded = view.select(
            pl.col(name).str.pad_start(width) if name in _FLOW_RIGHT else pl.col(name).str.pad_end(width)
            for name, width in zip(_FLOW_VIEW, widths, strict=True)
        )
        lines = padded.select(pl.concat_str(_FLOW_VIEW, separator="  ").str.strip_chars_end()).to_series()
        yield "\n".join(lines.to_list()) + "\n"


def _pad_text(name: str, text: str, width: int) -> str:
    return text.rjust(width) if name in _FLOW_RIGHT else text.ljust(width)


def _flow_view(frame: pl.DataFrame) -> pl.DataFrame:
    ported = pl.col("protocol").is_in([6, 17, 132])

    def party(address: str, port: str) -> pl.Expr:
        bracketed = (
            pl.when(pl.col(address).str.contains(":", literal=True)).then(pl.format("[{}]", address)).otherwise(address)
        )
        return pl.when(ported).then(pl.format("{}:{}", bracketed, port)).otherwise(pl.col(address))

    return frame.select(
        pl.col("first_time").dt.strftime("%Y-%m-%d %H:%M:%S%.3f").alias("first seen"),
        pl.col("duration_seconds").round(3).cast(pl.String).alias("seconds"),
        protocol_name().alias("proto"),
        party("originator", "orig_port").alias("originator"),
        party("responder", "resp_port").alias("responder"),
        pl.col("conn_state").cast(pl.String).fill_null("").alias("state"),
        pl.format("{} > {}", "orig_packets", "resp_packets").alias("packets"),
        pl.format("{} > {}", "orig_bytes", "resp_bytes").alias("payload bytes"),
    ).fill_null("-")


def render(parts: Sequence[RenderableType], output: Path | None) -> None:
    """Print rich parts to stdout (colours only on a terminal that wants them), or plain text to `output`."""
    from rich.console import Console

    from kshot.cli.output import write_text

    if output is None and sys.stdout.isatty():
        console = Console(highlight=False)
        for part in parts:
            console.print(part)
        return
    # A pipe or file has no width: nothing is cut or wrapped for it.
    console = Console(file=io.StringIO(), highlight=False, width=_wide(parts), no_color=True, legacy_windows=False)
    for part in parts:
        console.print(part)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    write_text(["\n".join(line.rstrip() for line in text.split("\n"))], output)


def _wide(parts: Sequence[RenderableType]) -> int:
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(file=io.StringIO(), width=10_000)
    return max([80, *(Measurement.get(console, console.options, part).maximum for part in parts)])


def alerts_table(alerts: pl.DataFrame, *, ranked: bool) -> RenderableType:
    """One row an alert: what, between whom, when, how sure, and why."""
    from rich.table import Table
    from rich.text import Text

    has_parties = alerts["originator"].null_count() + alerts["responder"].null_count() < 2 * alerts.height
    has_times = alerts["first_time"].null_count() < alerts.height
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    table.add_column("threat", style="bold red" if not ranked else "bold yellow", no_wrap=True)
    if has_parties:
        table.add_column("originator > responder", overflow="fold")
    else:
        table.add_column("record", justify="right")
    if has_times:
        table.add_column("first seen", no_wrap=True)
        table.add_column("lasted", justify="right", no_wrap=True)
    table.add_column("records", justify="right")
    table.add_column("score" if ranked else "p-value", justify="right", no_wrap=True)
    table.add_column("ATT&CK", style="cyan", no_wrap=True)
    table.add_column("why", style="dim", overflow="fold", ratio=1)
    for row in alerts.iter_rows(named=True):
        cells = [clean(row["threat"])]
        if has_parties:
            cells.append(clean(f"{row['originator'] or '?'} > {row['responder'] or '?'}"))
        else:
            cells.append(str(row["first_record"]))
        if has_times:
            first, last = row["first_time"], row["last_time"]
            cells.append(f"{first:%Y-%m-%d %H:%M:%S}" if first else "")
            cells.append(lasted((last - first).total_seconds()) if first and last else "")
        cells.append(f"{row['flows']:,}")
        cells.append(f"{row['score']:.3f}" if ranked or row["p_value"] is None else f"{row['p_value']:.2g}")
        cells.append(clean(" ".join(row["attack"])))
        cells.append("\n".join(clean(reason) for reason in row["reasons"]))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def lasted(seconds: float) -> str:
    """A span in the unit that a person would choose.

    >>> [lasted(s) for s in (0.0, 2.5, 90, 7200, 200000)]
    ['0 s', '2.5 s', '1.5 min', '2 h', '2.3 d']
    """
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{round(seconds / size, 1):g} {unit}"
    return f"{round(seconds, 1):g} s"
