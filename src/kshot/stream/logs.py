"""Logs of Zeek and Suricata among the inputs: told from other files, read, their damage summed up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from kshot.errors import UserError
from kshot.sources.suricata import is_suricata, read_suricata
from kshot.sources.zeek import is_zeek, read_zeek
from kshot.stream.metering import CaptureReport, Metering

MOST_TOLD = 20
"""So many damaged lines are told one by one; a log damaged throughout would bury everything else."""


def is_log(path: Path) -> bool:
    """Whether a file, or a folder by the files in it, is a log of Zeek's or Suricata's.

    Raises:
        InputError: it cannot be read.
    """
    return is_zeek(path) or is_suricata(path)


def read_logs(paths: Sequence[Path]) -> tuple[pl.DataFrame, Metering]:
    """Read logs into a flow frame of the tier ZEEK, closing order; what was damaged stands in the metering's reports.

    Raises:
        InputError: a log cannot be read, or tells of no connections.
        UserError: no line of them could be used.
    """
    zeek = [path for path in paths if is_zeek(path)]
    suricata = [path for path in paths if path not in zeek]
    problems: list[str] = []
    read = [read_zeek(zeek, on_problem=problems.append)] if zeek else []
    read += [read_suricata(suricata, on_problem=problems.append)] if suricata else []
    frame = pl.concat([records.frame for records in read])
    bad = sum(records.bad_lines for records in read)
    lines = sum(records.lines_read for records in read)
    if not frame.height:
        raise UserError(problems[0] if problems else f"{paths[0]}: no connection in it, so no flow")
    metering = Metering()
    metering.counters["flows"] = frame.height
    told = problems[:MOST_TOLD]
    if bad:
        told.append(f"{', '.join(map(str, paths))}: {bad:,} of {lines:,} lines are damaged and left out")
    metering.captures += [CaptureReport(str(paths[0]), damage=line) for line in told]
    return frame, metering
