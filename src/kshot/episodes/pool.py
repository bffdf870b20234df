"""A pool of unlabelled records of an episode's site, disjoint from what is shown and asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kshot.episodes.episode import Episode
from kshot.episodes.tables import BENIGN, UNGROUPED, EpisodeError, LabelledTable, Rows
from kshot.episodes.transfer import not_among

POOL_ROWS = 2000
MOST_ATTACKS = 0.1
"""Of a pool's rows: what a site records is benign but for a little, whatever the table's own share."""
LEAST_ROWS = 200


def with_pool(
    episode: Episode,
    table: LabelledTable,
    rng: np.random.Generator,
    n_rows: int = POOL_ROWS,
    attack_share: float = MOST_ATTACKS,
) -> Episode:
    """Return the episode with a pool of up to `n_rows` rows of `table`, their labels taken away.

    No row of the pool is shown or asked, none is of a query's group, none has a query's cells. Under the blocked split
    it is of the first half of each class, as what is shown is: recorded before what is asked. Attacks are of all
    families alike, as they come.

    Raises:
        EpisodeError: fewer than `LEAST_ROWS` benign rows are left for it.
    """
    used = np.concatenate([episode.reference_rows, episode.shot_rows, episode.query_rows])
    free = np.ones(len(table), bool)
    free[used] = False
    if table.groups is not None:
        asked = np.setdiff1d(table.groups[episode.query_rows], [UNGROUPED])
        free &= ~np.isin(table.groups, asked)
    if episode.split == "blocked":
        free &= _first_half(table)
    is_benign = np.zeros(len(table), bool)
    is_benign[table.rows_of(BENIGN)] = True
    n_attacks = round(attack_share * n_rows)
    benign = _some(np.flatnonzero(free & is_benign), n_rows - n_attacks, rng)
    attacks = _some(np.flatnonzero(free & ~is_benign), round(len(benign) * attack_share / (1.0 - attack_share)), rng)
    if len(benign) < LEAST_ROWS:
        raise EpisodeError(
            f"table {table.name}: {len(benign)} benign rows are left for a pool of unlabelled records under the "
            f"{episode.split} split, {LEAST_ROWS} are needed"
        )
    rows = rng.permutation(np.concatenate([benign, attacks]))
    pool = table.features[rows].select(episode.queries.columns)
    return replace(episode, pool=pool[not_among(pool, episode.queries)])


def _first_half(table: LabelledTable) -> NDArray[np.bool_]:
    """(n,) whether a row is in the first half of its class."""
    early = np.zeros(len(table), bool)
    for label in (*table.families, BENIGN):
        rows = table.rows_of(label)
        early[rows[: len(rows) // 2]] = True
    return early


def _some(rows: NDArray[np.intp], count: int, rng: np.random.Generator) -> Rows:
    return rng.permutation(rows)[:count].astype(np.int64)
