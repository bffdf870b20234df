"""The records of an input: captures, logs and tables as frames, with what is judged of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kshot.errors import InputError, UserError
from kshot.features import FeatureExtractor
from kshot.intel import plain_types
from kshot.records.flows import FLOW_SCHEMA
from kshot.sources.compressed import STDIN, ByteStream
from kshot.sources.pcap import is_capture
from kshot.sources.tables import read_table
from kshot.stream.flowtables import as_flows
from kshot.stream.logs import is_log, read_logs
from kshot.stream.metering import Metering, MeterOptions, OnProgress, stretches
from kshot.stream.parties import parties
from kshot.stream.selection import select


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
    """Read captures, Zeek's or Suricata's logs, tables of flows, or tables of anything; all must be of one kind.

    Raises:
        InputError: unreadable, empty, damaged table, mixed kinds, captures or logs without a flow.
    """
    with _spooled(paths) as (readable, names):
        kinds = [_kind_of(path) for path in readable]
        if len(set(kinds)) > 1:
            odd = next(path for path, kind in zip(readable, kinds, strict=True) if kind != kinds[0])
            hint = "give captures, logs or tables, not several of these"
            raise InputError(str(odd), "cannot be mixed with the other inputs", hint)
        if kinds[0] == "capture":
            records = _from_captures(readable, options, on_progress)
        elif kinds[0] == "log":
            flows, metering = read_logs(readable)
            records = Records("flow", flows, featurize(flows), metering)
        else:
            records = _from_tables(readable)
        for report in records.metering.captures:
            report.damage = names(report.damage) if report.damage else None
        return records


def _kind_of(path: Path) -> str:
    if path.is_dir():
        if is_log(path):
            return "log"
        raise InputError(str(path), "is a folder without logs of Zeek's or Suricata's", "name the files in it")
    if is_capture(path) or _named_as_capture(path):
        return "capture"
    return "log" if is_log(path) else "table"


def _named_as_capture(path: Path) -> bool:
    """Whether the name promises a capture: if the content is none, it is the capture reader that should say so."""
    return any(suffix.lower() in (".pcap", ".pcapng", ".cap") for suffix in path.suffixes)


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
