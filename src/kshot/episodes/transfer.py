"""Site change: shots from one network, reference and queries from another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from kshot.episodes.draw import TaskShape, draw_episode
from kshot.episodes.episode import Episode
from kshot.episodes.splits import Splitter
from kshot.episodes.tables import EpisodeError, LabelledTable


def shared_families(source: LabelledTable, target: LabelledTable, least_rows: int) -> tuple[str, ...]:
    """Return the families that both tables have at least `least_rows` of, sorted."""
    return tuple(
        family
        for family in source.families
        if len(source.rows_of(family)) >= least_rows and len(target.rows_of(family)) >= least_rows
    )


def transfer_episode(
    source: LabelledTable,
    target: LabelledTable,
    family: str,
    shape: TaskShape,
    rng: np.random.Generator,
    *,
    repetition: int = 0,
) -> Episode:
    """Draw an episode whose shots are the source's and whose reference and queries are the target's.

    Only columns of both, of the same kind, are kept; a query whose cells a shot has too is left out. `shot_rows` of
    the episode count in the source.

    Raises:
        EpisodeError: no shared columns, no such family, or too few rows on a side.
    """
    if not len(source.rows_of(family)) or not len(target.rows_of(family)):
        raise EpisodeError(f"tables {source.name} and {target.name} do not both have family {family}")
    columns = _shared_columns(source, target)
    episode = draw_episode(target, [family], replace(shape, k_shot=0), rng, columns=columns, repetition=repetition)
    shown = Splitter(source, shape.split, rng, 0).family(family).shown[: shape.k_shot]
    if len(shown) < shape.k_shot:
        raise EpisodeError(f"table {source.name}: {len(shown)} rows of {family} to show, {shape.k_shot} are needed")
    shots = source.features.select(columns)[shown]
    # A count that one table holds as a whole number and the other as a fraction is compared as a fraction.
    mixed = [pl.col(name).cast(pl.Float64) for name in columns if shots.schema[name] != episode.queries.schema[name]]
    shots, queries = shots.with_columns(mixed), episode.queries.with_columns(mixed)
    fresh = not_among(queries, shots)
    return replace(
        episode,
        reference=episode.reference.with_columns(mixed),
        shots=shots,
        shot_labels=np.ones(len(shown), np.int64),
        queries=queries[fresh],
        query_labels=episode.query_labels[fresh],
        query_families=episode.query_families[fresh],
        query_rows=episode.query_rows[fresh],
        shot_rows=shown,
        k_shot=shape.k_shot,
        table=f"{source.name} -> {target.name}",
    )


def _shared_columns(source: LabelledTable, target: LabelledTable) -> list[str]:
    def alike(first: pl.DataType, second: pl.DataType) -> bool:
        return first == second or (first.is_numeric() and second.is_numeric())

    ours, theirs = target.features.schema, source.features.schema
    columns = [name for name in ours if name in theirs and alike(ours[name], theirs[name])]
    if not columns:
        raise EpisodeError(f"tables {source.name} and {target.name} share no column")
    return columns


def not_among(rows: pl.DataFrame, others: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the numbers of the rows whose cells no row of `others` has."""
    left = rows.with_row_index("\x00row")
    kept = left.join(others, on=rows.columns, how="anti", nulls_equal=True, maintain_order="left")
    return np.asarray(kept["\x00row"].to_numpy(), np.int64)
