"""Teach a threat from records: choose shots, thin them, look how well they separate."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from kshot.errors import ThreatError, UserError
from kshot.features import fingerprint, settle
from kshot.intel import ShotQuality, droppable_columns, plain_types, shot_quality, table_fingerprint, teach, thin
from kshot.records.threats import Threat
from kshot.stream.pipeline import Records, at_one_tier
from kshot.stream.selection import columns_named

MANY_LABELS = 1_000
"""Labelled rows beyond which an ordinary classifier, trained on all of them, has enough to learn from."""


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """What the user says of a threat and its shots."""

    where: str | None = None
    max_shots: int = 100
    attack: Sequence[str] = ()
    description: str = ""
    severity: str = "medium"
    drop: Sequence[str] = ()
    keep: Sequence[str] = ()
    random_state: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """A threat as it was learned, and what to say about it."""

    threat: Threat
    labelled: int
    """Rows that were chosen, before thinning."""
    reference_rows: int
    """Benign rows that the shots were compared with; 0 when there were none."""
    dropped: dict[str, str] = field(default_factory=dict)
    """A table's column that was left out -> why."""
    quality: ShotQuality | None = None
    """None with one shot, or without a reference."""
    shot_rows: list[str] = field(default_factory=list)
    """Where each shot came from: the input and its row, from 1."""


def learn(
    name: str,
    examples: Sequence[tuple[str, Records]],
    *,
    reference: Records | None = None,
    options: LearnOptions = LearnOptions(),
    created: str = "",
) -> Lesson:
    """Make a threat of the records that `options.where` chooses (all, without it).

    Parameters:
        examples: each input's name and records; features were computed over the whole of each.
        reference: benign records; without them the rows that were not chosen stand in.
        created: ISO 8601 time, for the record.

    Raises:
        UserError: no row was chosen, kinds differ, an unknown column, no column left.
    """
    kind = examples[0][1].kind
    _check_kinds(kind, examples, reference)
    inputs = at_one_tier([*(records for _, records in examples), *([reference] if reference is not None else [])])
    examples = [(source, records) for (source, _), records in zip(examples, inputs, strict=False)]
    reference = inputs[-1] if reference is not None else None
    named = columns_named(options.where) if options.where else []
    shots, rest, places = _choose(examples, options.where)
    dropped = _dropped(kind, examples, reference, named, options)
    shots, rest = (shots.drop(dropped), rest.drop(dropped)) if kind == "table" else (shots, rest)
    if shots.width == 0:
        raise ThreatError(
            "every column was left out (identifier-, time-, address- or label-like); name one with --keep"
        )
    if reference is not None:
        rest = _reference_like(shots, reference)
    labelled = shots.height
    generator = np.random.default_rng(options.random_state)
    kept = _distinct(shots)
    kept = kept[thin(shots[kept], options.max_shots, generator)]
    shots = shots[kept]
    threat = teach(
        name,
        shots,
        kind=kind,
        fingerprint=fingerprint() if kind == "flow" else table_fingerprint(shots.schema),
        created=created,
        attack=options.attack,
        description=options.description,
        severity=options.severity,
        source=_provenance([source for source, _ in examples], options.where),
    )
    quality = shot_quality(settle(shots, rest), settle(rest, rest), options.random_state)
    return Lesson(threat, labelled, rest.height, dropped, quality, [places[row] for row in kept])


# An IPv4 or IPv6 address: a threat may be handed on, and must not tell who was attacked.
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")


def _provenance(sources: Sequence[str], where: str | None) -> str:
    """File names without their folders, and the expression without addresses."""
    told = ", ".join(Path(source).name for source in sources)
    return _ADDRESS.sub("(address)", told + (f" where {where}" if where else ""))


def _check_kinds(kind: str, examples: Sequence[tuple[str, Records]], reference: Records | None) -> None:
    words = {"flow": "flows", "table": "table rows"}
    for source, records in examples:
        if records.kind != kind:
            raise UserError(
                f"{source} holds {words[records.kind]}, {examples[0][0]} {words[kind]}; learn from one kind"
            )
    if reference is not None and reference.kind != kind:
        raise UserError(
            f"--reference holds {words[reference.kind]}, --shots {words[kind]}; give a reference of the same kind"
        )


def _choose(examples: Sequence[tuple[str, Records]], where: str | None) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """The chosen rows' features, the others', and where each chosen row came from."""
    chosen_frames: list[pl.DataFrame] = []
    rest_frames: list[pl.DataFrame] = []
    places: list[str] = []
    for source, records in examples:
        chosen = records.where(where)
        chosen_frames.append(records.features.filter(chosen))
        rest_frames.append(records.features.filter(~chosen))
        places += [f"{source}, row {row + 1}" for row in chosen.arg_true()]
    if not places:
        total = sum(len(records) for _, records in examples)
        raise ThreatError(
            f"no shots: --where {where!r} holds for none of the {total:,} records of "
            f"{', '.join(source for source, _ in examples)}"
        )
    columns = chosen_frames[0].columns
    for (source, _), frame in zip(examples, chosen_frames, strict=True):
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise UserError(
                f"{source} lacks column {missing[0]}, which {examples[0][0]} has; learn from tables of the same columns"
            )
    whole = pl.concat([f.select(columns) for f in (*chosen_frames, *rest_frames)], how="vertical_relaxed")
    if examples[0][1].kind == "table":
        whole = plain_types(whole)
    return whole[: len(places)], whole[len(places) :], places


def _dropped(
    kind: str,
    examples: Sequence[tuple[str, Records]],
    reference: Records | None,
    named: list[str],
    options: LearnOptions,
) -> dict[str, str]:
    """A table's columns to leave out; flow features hold nothing that must be."""
    if kind == "flow":
        if options.drop or options.keep:
            raise UserError("--drop and --keep are for tables; flow features never hold addresses, ports or times")
        return {}
    frame = examples[0][1].frame
    for flag, names in (("--drop", options.drop), ("--keep", options.keep)):
        for column in names:
            if column not in frame.columns:
                raise UserError(f"{flag} {column}: there is no such column; there are: {', '.join(frame.columns[:12])}")
    dropped = droppable_columns(frame, named=named, drop=options.drop, keep=options.keep)
    if reference is not None:
        for column in frame.columns:
            if column not in reference.frame.columns and column not in dropped:
                dropped[column] = "not in the reference"
    return dropped


def _reference_like(shots: pl.DataFrame, reference: Records) -> pl.DataFrame:
    return reference.judged_columns().select(
        pl.col(name).cast(dtype, strict=False) for name, dtype in shots.schema.items()
    )


def _distinct(shots: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The first row of each set of equal ones: repeats teach nothing and would outvote the others."""
    first = shots.with_row_index("kshot.at").unique(subset=shots.columns, maintain_order=True, keep="first")
    return first["kshot.at"].cast(pl.Int64).to_numpy()
