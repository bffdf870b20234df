"""The tables of a run, prepared as the protocol wants: imported sets, own ones, captures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kshot.bench.captures import captures_table
from kshot.datasets import DataSet, Library, own_table
from kshot.datasets.rows import RESERVED, SOURCE_LABEL, keep_rows
from kshot.episodes import EpisodeError, LabelledTable
from kshot.episodes.reference import reference_table
from kshot.episodes.tables import first_of_each
from kshot.errors import UserError
from kshot.sources.tables import read_table
from kshot.store import kshot_home


@dataclass(frozen=True, slots=True)
class OwnTable:
    """A table that needs no catalogue entry."""

    path: Path
    label: str
    benign: tuple[str, ...]


@dataclass(slots=True)
class Loaded:
    """Tables by name, and what was left out of which."""

    tables: dict[str, LabelledTable] = field(default_factory=dict)
    dropped: dict[str, dict[str, str]] = field(default_factory=dict)
    """Table -> column -> why it was left out by default."""
    captured: set[str] = field(default_factory=set)
    """The tables that were metered from captures."""
    unread: dict[str, list[str]] = field(default_factory=dict)
    """Table -> its captures that were left out, and why."""


def load_tables(
    names: Sequence[str],
    own: Sequence[OwnTable],
    drop: Sequence[str],
    *,
    reference: bool,
    captures: Sequence[Path] = (),
) -> Loaded:
    """Load imported data sets (all of them, where nothing is named), tables of one's own and labelled captures.

    Args:
        names: of imported data sets.
        own: tables of one's own.
        drop: columns to leave out of every table that has them.
        reference: prepare them as the reference implementation does.
        captures: folders of labelled captures (`captures_table`).

    Raises:
        UserError: none is there, one is unknown or damaged, two have one name, or no table has a column of `drop`.
    """
    library = Library(kshot_home())
    if not names and not own and not captures:
        names = library.names()
        if not names:
            raise UserError("no data set is imported; do: kshot data import --from DIR, or give --table FILE")
    out = Loaded()
    unseen = set(drop)
    for name in dict.fromkeys(names):
        present = [column for column in drop if column in library.features(name)]
        unseen -= set(present)
        if not reference:
            out.tables[name] = library.load(name, present)
            continue
        table = library.load_reference(name)
        out.tables[name] = _without(table, present)
    for told in own:
        columns = read_table(told.path).columns
        present = [column for column in drop if column in columns]
        unseen -= set(present)
        table, dropped = _own_reference(told, present) if reference else _own(told, present)
        if table.name in out.tables:
            raise UserError(f"{told.path}: another table is named {table.name} already; rename the file")
        out.tables[table.name] = table
        if dropped:
            out.dropped[table.name] = dropped
    for folder in captures:
        table, left_out = captures_table(folder)
        present = [column for column in drop if column in table.features.columns]
        unseen -= set(present)
        if table.name in out.tables:
            raise UserError(f"{folder}: another table is named {table.name} already; rename the folder")
        out.tables[table.name] = _fewer_columns(table, present)
        out.captured.add(table.name)
        if left_out:
            out.unread[table.name] = left_out
    if unseen:
        raise UserError(f"--drop {sorted(unseen)[0]}: no table has that column")
    return out


def _without(table: LabelledTable, columns: Sequence[str]) -> LabelledTable:
    """A table as the reference implementation prepares it, fewer columns and then fewer different rows."""
    present = [column for column in columns if column in table.features.columns]
    if not present:
        return table
    return reference_table(table.name, table.corpus, table.features.drop(present), table.labels)


def _fewer_columns(table: LabelledTable, columns: Sequence[str]) -> LabelledTable:
    """A table without some columns, and then without the rows that have become equal."""
    if not columns:
        return table
    features = table.features.drop(columns)
    if not features.width:
        raise EpisodeError(f"table {table.name}: no feature column is left; drop fewer columns")
    kept = first_of_each(features, table.labels)
    return replace(table.take(kept), features=features[kept])


def _own(told: OwnTable, drop: Sequence[str]) -> tuple[LabelledTable, dict[str, str]]:
    return own_table(told.path, told.label, told.benign, drop=drop)


def _own_reference(told: OwnTable, drop: Sequence[str]) -> tuple[LabelledTable, dict[str, str]]:
    name = told.path.name.split(".", 1)[0] or "table"
    dataset = DataSet(name, name, told.label, benign=told.benign, drop={"told": tuple(drop)})
    kept = keep_rows(dataset, read_table(told.path), str(told.path)).frame
    features = kept.drop([column for column in RESERVED if column in kept.columns])
    table = reference_table(name, name, features, kept[SOURCE_LABEL].to_list())
    if not table.features.width:
        raise EpisodeError(f"table {name}: the reference protocol leaves none of its columns")
    return table, {}
