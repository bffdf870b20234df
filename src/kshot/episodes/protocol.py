"""The episodes that a benchmark scores: every table, family and repetition, the same for the same seed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kshot.episodes.draw import HEADLINE, TaskShape, check_table, draw_episode, usable_families
from kshot.episodes.episode import Episode
from kshot.episodes.leaks import LeakError
from kshot.episodes.tables import EpisodeError, LabelledTable

REFERENCE_SEED = 7
"""The seed of the reference protocol."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A table or family that the protocol leaves out, and why."""

    table: str
    family: str
    """"" for the whole table."""
    reason: str


def headline_episodes(
    tables: Sequence[LabelledTable],
    shape: TaskShape = HEADLINE,
    repetitions: int = 5,
    seed: int = REFERENCE_SEED,
    skipped: list[Skipped] | None = None,
) -> Iterator[Episode]:
    """Give one new threat against the reference: for each table, each family, each repetition.

    An episode depends on `seed`, the repetition, the table's and the family's name alone, so that runs with more
    tables or repetitions hold the same ones. What cannot be drawn is told in `skipped`. Tables without groups give
    exactly the episodes of the reference implementation (`reference_table` prepares them as it does).

    Raises:
        EpisodeError: `shape` is not of one family, or what was drawn would leak.
    """
    if shape.n_way != 1 or shape.n_unknown:
        raise EpisodeError("the headline protocol shows one family; use n_way_episodes for more")
    skipped = [] if skipped is None else skipped
    for table in tables:
        try:
            families = check_table(table, shape)
        except EpisodeError as error:
            skipped.append(Skipped(table.name, "", str(error)))
            continue
        skipped += [Skipped(table.name, family, why) for family, why in usable_families(table, shape)[1].items()]
        for family in families:
            for repetition in range(repetitions):
                key = (seed, repetition, zlib.crc32((table.name + family).encode()))
                rng = np.random.default_rng(key)
                try:
                    yield draw_episode(table, [family], shape, rng, seed=key, repetition=repetition)
                except LeakError:
                    raise
                except EpisodeError as error:
                    skipped.append(Skipped(table.name, family, str(error)))
                    break


def n_way_episodes(
    tables: Sequence[LabelledTable],
    shape: TaskShape,
    repetitions: int = 5,
    seed: int = REFERENCE_SEED,
    skipped: list[Skipped] | None = None,
) -> Iterator[Episode]:
    """Give N-way episodes: for each table and repetition, N families shown and some unknown, drawn by lot."""
    skipped = [] if skipped is None else skipped
    for table in tables:
        for repetition in range(repetitions):
            key = (seed, repetition, zlib.crc32(f"{table.name}/{shape.n_way}+{shape.n_unknown}".encode()))
            rng = np.random.default_rng(key)
            try:
                families = check_table(table, shape)
                chosen = rng.permutation(len(families))[: shape.n_way + shape.n_unknown]
                names = [families[i] for i in chosen]
                yield draw_episode(
                    table, names[: shape.n_way], shape, rng, names[shape.n_way :], seed=key, repetition=repetition
                )
            except LeakError:
                raise
            except EpisodeError as error:
                skipped.append(Skipped(table.name, "", str(error)))
                break
