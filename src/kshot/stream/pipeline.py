"""The one place that wires the stages: captures and tables in, flows, features, verdicts, alerts out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import InputError, ThreatError, UserError
from kshot.features import FeatureExtractor, fingerprint
from kshot.intel import fit_threats, plain_types
from kshot.records.alerts import ALERT_SCHEMA
from kshot.records.flows import FLOW_SCHEMA
from kshot.records.threats import Threat
from kshot.sources.compressed import STDIN, ByteStream
from kshot.sources.pcap import is_capture
from kshot.sources.tables import read_table
from kshot.stream.budget import rate_for_budget
from kshot.stream.flowtables import as_flows
from kshot.stream.grouping import group_alerts
from kshot.stream.judging import Judgement, judge_all
from kshot.stream.metering import Metering, MeterOptions, OnProgress, meter, stretches
from kshot.stream.parties import parties
from kshot.stream.selection import select

DEFAULT_RATE = 0.001
"""False alarms a benign record, unless told otherwise: 1 in 1,000."""


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one or more inputs, ready to be chosen from and judged."""

    kind: str
    """"flow" or "table"."""
    frame: pl.DataFrame
    """What people see: flow columns, or the table's own."""
    features: pl.DataFrame
    """What is judged, row for row beside `frame`; for a table the table itself."""
    metering: Metering = field(default_factory=Metering)
    """Of the captures among the inputs."""

    def __len__(self) -> int:
        return self.frame.height

    def where(self, expression: str | None) -> pl.Series:
        """Flag the rows for which the SQL expression over flow and feature columns holds; all without one."""
        if expression is None:
            return pl.Series([True]).new_from_index(0, len(self))
        new = [name for name in self.features.columns if name not in self.frame.columns]
        return select(self.frame.hstack(self.features.select(new)) if new else self.frame, expression)

    def filter(self, chosen: pl.Series) -> Records:
        """Keep the flagged rows; their features stay as the whole input gave them."""
        return Records(self.kind, self.frame.filter(chosen), self.features.filter(chosen), self.metering)

    def judged_columns(self) -> pl.DataFrame:
        """The features, a table's in plain types."""
        return self.features if self.kind == "flow" else plain_types(self.features)

    def parties(self) -> pl.DataFrame:
        """originator, responder, first_time, last_time a row; null where the records do not tell."""
        return parties(self.frame)


def featurize(flows: pl.DataFrame) -> pl.DataFrame:
    """Turn the flows of one stretch of traffic into features, row for row, from the whole of it."""
    return FeatureExtractor().transform(flows)


def read_records(paths: Sequence[str | Path], options: MeterOptions, on_progress: OnProgress | None = None) -> Records:
    """Read captures, tables of flows, or tables of anything; all inputs must be of one kind.

    Raises:
        InputError: unreadable, empty, damaged table, mixed kinds, captures without a flow.
    """
    with _spooled(paths) as (readable, names):
        captures = [is_capture(path) for path in readable]
        if any(captures) and not all(captures):
            odd = readable[captures.index(not captures[0])]
            raise InputError(str(odd), "cannot be mixed with the other inputs", "give captures or tables, not both")
        records = _from_captures(readable, options, on_progress) if all(captures) else _from_tables(readable)
        for report in records.metering.captures:
            report.damage = names(report.damage) if report.damage else None
        return records


def _from_captures(paths: Sequence[Path], options: MeterOptions, on_progress: OnProgress | None) -> Records:
    metering = Metering()
    frames: list[pl.DataFrame] = []
    features: list[pl.DataFrame] = []
    for stretch in stretches(paths, options, on_progress, metering):
        flows = pl.concat(list(stretch) or [pl.DataFrame(schema=FLOW_SCHEMA)])
        if flows.height:
            frames.append(flows)
            features.append(featurize(flows))
    if not frames:
        what = (
            metering.damage[0] if metering.damage else f"{', '.join(map(str, paths))}: no IP packet in it, so no flow"
        )
        raise UserError(what)
    return Records("flow", pl.concat(frames), pl.concat(features), metering)


def _from_tables(paths: Sequence[Path]) -> Records:
    tables = [read_table(path) for path in paths]
    flows = [as_flows(table) for table in tables]
    if all(frame is not None for frame in flows):
        frame = pl.concat([frame for frame in flows if frame is not None])
        return Records("flow", frame, featurize(frame))
    for path, table in zip(paths, tables, strict=True):
        missing = [name for name in tables[0].columns if name not in table.columns]
        if missing:
            raise InputError(
                str(path), f"lacks column {missing[0]}, which {paths[0]} has", "give tables of the same columns"
            )
    whole = pl.concat([table.select(tables[0].columns) for table in tables], how="vertical_relaxed")
    return Records("table", whole, whole)


@contextmanager
def _spooled(paths: Sequence[str | Path]) -> Iterator[tuple[list[Path], Callable[[str], str]]]:
    """Give every input a path that can be read twice: pipes are copied, for what they hold is not known beforehand.

    Beside them, a function that puts a pipe's own name for its copy's into a message.
    """
    copies: dict[str, str] = {}
    readable: list[Path] = []

    def names(text: str) -> str:
        for copy, name in copies.items():
            text = text.replace(copy, name)
        return text

    with ExitStack() as stack:
        for path in paths:
            if str(path) != STDIN and not Path(path).is_fifo():
                readable.append(Path(path))
                continue
            copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="kshot-piped-"))
            stream = stack.enter_context(ByteStream(path))
            piece = memoryview(bytearray(1 << 20))
            while count := stream.readinto(piece):
                copy.write(piece[:count])
            copy.flush()
            if stream.damage:
                raise InputError(stream.name, stream.damage, "send it again")
            readable.append(Path(copy.name))
            copies[copy.name] = stream.name
        try:
            yield readable, names
        except InputError as error:
            raise InputError(names(error.where), error.what, error.hint) from error


__all__ = ["Records", "ScanOptions", "ScanResult", "featurize", "meter", "read_records", "scan"]
