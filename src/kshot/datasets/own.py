"""A user's own table without a map: a label column, the benign values, what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kshot.datasets.declaration import DataSet
from kshot.datasets.rows import keep_rows, table_of_rows
from kshot.episodes.suspects import suspect_columns
from kshot.episodes.tables import LabelledTable
from kshot.sources.tables import read_table


def own_table(
    path: Path,
    label: str,
    benign: Sequence[str],
    *,
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    group: str = "",
    order: str = "",
) -> tuple[LabelledTable, dict[str, str]]:
    """Read a table and leave out what looks like an identifier, a time, an address or the label.

    Args:
        path: CSV, TSV, Parquet, JSON lines or a JSON array, plain or compressed; its stem names table and corpus.
        label: the column with the label.
        benign: its values of normal life; `*` stands for any text.
        drop: columns to leave out besides.
        keep: columns to keep although they look suspicious.
        group: the column with the session, capture or host.
        order: the column to sort by.

    Returns:
        The table, and the columns left out by default, each with the reason.

    Raises:
        InputError: unreadable, no such column, no row with a benign value.
        EpisodeError: no column is left.
    """
    name = path.name.split(".", 1)[0] or "table"
    frame = read_table(path)
    groups = (group,) if group else ()
    told = DataSet(name, name, label, benign=tuple(benign), drop={"told": tuple(drop)}, group=groups, order=order)
    kept = keep_rows(told, frame, str(path)).frame
    table = table_of_rows(told, kept)
    suspects = suspect_columns(table.features, table.labels, keep)
    if suspects:
        told = DataSet(
            name, name, label, benign=tuple(benign), drop={"told": (*drop, *suspects)}, group=groups, order=order
        )
        table = table_of_rows(told, keep_rows(told, frame, str(path)).frame)
    return table, suspects
