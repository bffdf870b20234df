"""Reads Suricata's EVE logs (rotated, packed) into flows; http, dns and tls joined by flow_id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from kshot.errors import InputError
from kshot.sources.compressed import ByteStream
from kshot.sources.log_files import head_of, json_objects_of, log_files
from kshot.sources.log_flows import as_log_frame, join_facts
from kshot.sources.log_lines import (
    SLACK_BYTES,
    LineBlock,
    LogRecords,
    OnProblem,
    Tally,
    canonical_addresses,
    in_threads,
    line_blocks,
    parse_block,
)
from kshot.sources.suricata_fields import FIELDS, FLOW, PATHS, event_of, facts_of, flows_of


def read_suricata(paths: Sequence[str | Path], *, on_problem: OnProblem | None = None) -> LogRecords:
    """Read EVE files, folders of them, or patterns: flow events, with the http, dns and tls events of their flow_id.

    `on_problem` gets one line for each damaged line ("file:line: what"), which is left out; events of other types are
    read over. Files are put in the order of their first flow's end.

    The originator is the flow's source: who sent the first packet Suricata saw, or the SYN. Suricata counts frame
    bytes only, so `*_bytes` (payload) are those less nominal headers; of TCP, 0 for a direction without PSH, else less
    a SYN's usual options: too great by the timestamps (12 bytes a packet) where hosts use them. `conn_state` is told
    from the flags of each direction, not from their order: SF stands for any flow with a FIN from both ends.

    Raises:
        InputError: a file cannot be read or is no EVE log, or none holds a flow event.
    """
    tally = Tally(on_problem)
    frames: list[pl.DataFrame] = []
    facts: list[pl.DataFrame] = []
    files = log_files(paths, _is_suricata_file)
    for file in files:
        if not _is_suricata_file(file):
            raise InputError(str(file), "is not a Suricata EVE log (no JSON event in it)", "give an eve.json")
        flows: list[pl.DataFrame] = []
        with ByteStream(file) as stream:
            for result in in_threads(_work, line_blocks(stream)):
                tally.take(stream.name, result.lines, result.problems)
                facts += result.facts
                flows += [result.flows] if result.flows.height else []
            tally.end(stream)
        if flows:
            frames.append(pl.concat(flows))
    if not frames:
        hint = "switch on the flow events of eve-log in suricata.yaml"
        raise InputError(", ".join(map(str, files)), "holds no whole flow event", hint)
    frame = pl.concat(sorted(frames, key=lambda part: part["last_time"][0]))
    frame = as_log_frame(join_facts(canonical_addresses(frame, ("originator", "responder")), facts))
    return LogRecords(frame, tally.lines, frame.height, tally.bad_lines)


def is_suricata(path: str | Path) -> bool:
    """Tell by its first lines, unpacked if need be, whether `path` is an EVE log; a folder is if it holds one.

    Raises:
        InputError: the file cannot be read.
    """
    if Path(path).is_dir():
        return any(_is_suricata_file(file) for file in sorted(Path(path).iterdir()) if file.is_file())
    return any(
        isinstance(event.get("event_type"), str) and ("timestamp" in event or "flow_id" in event)
        for event in json_objects_of(head_of(path))
    )


def _is_suricata_file(file: Path) -> bool:
    return not file.is_dir() and is_suricata(file)


def parse_eve(data: bytes, first_line: int) -> EveResult:
    """Return what whole lines of an EVE log, each with its newline, tell of."""
    return _work(LineBlock.of(bytearray(data) + bytes(SLACK_BYTES), 0, len(data), first_line))


@dataclass(frozen=True, slots=True)
class EveResult:
    """What some lines hold: flows, facts of flows, and what is wrong with bad lines."""

    lines: int
    problems: list[tuple[int, str]]
    flows: pl.DataFrame
    facts: list[pl.DataFrame]


def _work(block: LineBlock) -> EveResult:
    parsed = parse_block(block, FIELDS, PATHS, event_of)
    events = [event for event in np.unique(parsed.logs).tolist() if event > FLOW]
    return EveResult(block.lines, parsed.problems, flows_of(parsed), [facts_of(parsed, event) for event in events])
