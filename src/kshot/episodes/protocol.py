"""The episodes that a benchmark scores, the same for a seed: every table, family, repetition."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kshot.episodes.draw import HEADLINE, TaskShape, check_table, draw_episode, usable_families
from kshot.episodes.episode import Episode
from kshot.episodes.leaks import LeakError, refuse_repeats
from kshot.episodes.tables import EpisodeError, LabelledTable

REFERENCE_SEED = 7
"""The seed of the reference protocol."""
_ATTEMPTS = 10


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
    repetitions: int | Sequence[int] = 5,
    seed: int = REFERENCE_SEED,
    skipped: list[Skipped] | None = None,
) -> Iterator[Episode]:
    """Give one new threat against the reference: for each table, each family, each repetition.

    An episode depends on `seed`, the repetition, the table's and the family's name alone, so that runs with more
    tables or repetitions (a count, or the numbers of some) hold the same ones. What cannot be drawn is told in
    `skipped`. Tables without groups give exactly the episodes of the reference implementation (`reference_table`
    prepares them as it does).

    Raises:
        EpisodeError: `shape` is not of one family.
        LeakError: a table repeats rows, or what was drawn would leak.
    """
    if shape.n_way != 1 or shape.n_unknown:
        raise EpisodeError("the headline protocol shows one family; use n_way_episodes for more")
    skipped = [] if skipped is None else skipped
    for table in tables:
        refuse_repeats(table)
        try:
            families = check_table(table, shape)
        except EpisodeError as error:
            skipped.append(Skipped(table.name, "", str(error)))
            continue
        skipped += [Skipped(table.name, family, why) for family, why in usable_families(table, shape)[1].items()]
        for family in families:
            for repetition in _numbered(repetitions):
                key = (seed, repetition, zlib.crc32((table.name + family).encode()))
                drawn = _draw(table, _always(family), shape, key, repetition)
                if isinstance(drawn, EpisodeError):
                    skipped.append(Skipped(table.name, family, str(drawn)))
                    break
                yield drawn


def n_way_episodes(
    tables: Sequence[LabelledTable],
    shape: TaskShape,
    repetitions: int | Sequence[int] = 5,
    seed: int = REFERENCE_SEED,
    skipped: list[Skipped] | None = None,
) -> Iterator[Episode]:
    """Give N-way episodes: for each table and repetition, N families shown and some unknown, drawn by lot.

    Raises:
        LeakError: a table repeats rows, or what was drawn would leak.
    """
    skipped = [] if skipped is None else skipped
    for table in tables:
        refuse_repeats(table)
        try:
            families = check_table(table, shape)
        except EpisodeError as error:
            skipped.append(Skipped(table.name, "", str(error)))
            continue

        def by_lot(rng: np.random.Generator, families: tuple[str, ...] = families) -> tuple[list[str], list[str]]:
            chosen = [families[i] for i in rng.permutation(len(families))[: shape.n_way + shape.n_unknown]]
            return chosen[: shape.n_way], chosen[shape.n_way :]

        for repetition in _numbered(repetitions):
            key = (seed, repetition, zlib.crc32(f"{table.name}/{shape.n_way}+{shape.n_unknown}".encode()))
            drawn = _draw(table, by_lot, shape, key, repetition)
            if isinstance(drawn, EpisodeError):
                skipped.append(Skipped(table.name, "", str(drawn)))
                break
            yield drawn


def _numbered(repetitions: int | Sequence[int]) -> Sequence[int]:
    return range(repetitions) if isinstance(repetitions, int) else repetitions


def _always(family: str) -> Callable[[np.random.Generator], tuple[list[str], list[str]]]:
    return lambda _: ([family], [])


def _draw(
    table: LabelledTable,
    choose: Callable[[np.random.Generator], tuple[list[str], list[str]]],
    shape: TaskShape,
    key: tuple[int, ...],
    repetition: int,
) -> Episode | EpisodeError:
    """Draw with the generator of `key`; where whole groups fall badly by chance, with the next ones."""
    failed: EpisodeError | None = None
    for attempt in range(1 if table.groups is None else _ATTEMPTS):
        seed = (*key, attempt) if attempt else key
        rng = np.random.default_rng(seed)
        try:
            shown, unknown = choose(rng)
            return draw_episode(table, shown, shape, rng, unknown, seed=seed, repetition=repetition)
        except LeakError:
            raise
        except EpisodeError as error:
            failed = failed or error
    assert failed is not None
    return failed
