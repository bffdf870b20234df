"""The flags that several verbs share, so that each means the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """What the data looks like on its way out."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    EVE = "eve"


class FlowFormat(StrEnum):
    """As `Format`, without the one that is for alerts only."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


_METER = "Meter (captures only)"
_OUTPUT = "Output"
CALIBRATION = "Calibration"
"""Panel of the flags that say how many false alarms are bearable, and on what that is measured."""

IdleTimeout = Annotated[
    float,
    typer.Option(
        "--idle-timeout", metavar="S", min=0.001, help="A flow silent for S seconds has ended.", rich_help_panel=_METER
    ),
]
ActiveTimeout = Annotated[
    float,
    typer.Option(
        "--active-timeout",
        metavar="S",
        min=0.001,
        help="Cut a longer flow into records of S seconds.",
        rich_help_panel=_METER,
    ),
]
NoTunnels = Annotated[
    bool,
    typer.Option("--no-tunnels", help="Leave GRE, IP-in-IP, VXLAN and GTP-U wrapped.", rich_help_panel=_METER),
]
Threats = Annotated[
    list[str] | None,
    typer.Option(
        "--threats", metavar="NAME,...", help="Only these; default: all that were taught, and the built-in ones."
    ),
]
FalseAlarmRate = Annotated[
    float | None,
    typer.Option(
        "--false-alarm-rate",
        metavar="P",
        help="The chance that a benign record raises any alert; default 0.001.",
        rich_help_panel=CALIBRATION,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write here, whole or not at all; its ending tells the format.",
        rich_help_panel=_OUTPUT,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.", rich_help_panel=_OUTPUT)]
OutputFormat = Annotated[Format | None, typer.Option("-o", "--format", help="Default: table.", rich_help_panel=_OUTPUT)]
FlowOutputFormat = Annotated[
    FlowFormat | None, typer.Option("-o", "--format", help="Default: table.", rich_help_panel=_OUTPUT)
]
SimpleFormat = OutputFormat

_ENDINGS = {
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".json": Format.JSONL,
    ".eve": Format.EVE,
}


def choose_format(told: Format | FlowFormat | None, output: Path | None) -> str:
    """The format asked for, else what the file's ending tells, else a table for people."""
    if told is not None:
        return told.value
    return _ENDINGS.get(output.suffix.lower() if output else "", Format.TABLE).value


def comma_list(items: list[str] | None) -> list[str]:
    """Split items at commas; flags may be repeated or hold several."""
    return [part.strip() for item in items or [] for part in item.split(",") if part.strip()]
