"""One cell, one learner: draw its episodes, adapt, score, and say what the scores are worth."""

from __future__ import annotations

import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kshot.bench import measures
from kshot.bench.contestants import Contestant
from kshot.bench.deciding import Decider
from kshot.bench.protocols import WITH_POOL, Cell
from kshot.episodes import (
    REFERENCE_SEED,
    UNKNOWN,
    Episode,
    EpisodeError,
    LabelledTable,
    Skipped,
    draw_episode,
    headline_episodes,
    n_way_episodes,
    shared_families,
    transfer_episode,
    usable_families,
    with_pool,
)
from kshot.errors import UserError
from kshot.learners import Adapted, Learner
from kshot.learners.reading import Floats

Row = dict[str, Any]
"""One episode's figures: the columns of results, `measures` (name -> value) and `precision` (by recall)."""
ALONE_ROWS = 64
_TOLERANCE = 1e-4
_FALSE_ALARM_RATES = (0.01, 0.001)
_WARM: set[tuple[str, str]] = set()
"""Learners that have run in this process."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one learner did on one cell."""

    rows: list[Row]
    skipped: list[Skipped]


def score_cell(cell: Cell, tables: dict[str, LabelledTable], contestant: Contestant) -> Outcome:
    """Score one learner on every episode of a cell.

    Raises:
        UserError: the learner cannot take such episodes, or scores a row by what else is asked.
    """
    skipped: list[Skipped] = []
    learner = contestant.learner()
    rows: list[Row] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of solvers that did not converge: their figures say it
        for episode in _episodes(cell, tables, skipped):
            if (contestant.name, contestant.version) not in _WARM:
                _warm_up(learner, episode)
                _WARM.add((contestant.name, contestant.version))
            told = _MEASURED[cell.question](learner, episode, not rows)
            rows.append({**_head(cell, contestant, episode), **told})
    return Outcome(rows, skipped)


def _head(cell: Cell, contestant: Contestant, episode: Episode) -> Row:
    return {
        "question": cell.question,
        "learner": contestant.name,
        "data": episode.table if cell.question == "site-change" else cell.data,
        "corpus": cell.corpus,
        "family": episode.family,
        "k": episode.k_shot,
        "seed": cell.repetition,
        "split": cell.split,
    }


def _episodes(cell: Cell, tables: dict[str, LabelledTable], skipped: list[Skipped]) -> Iterator[Episode]:
    table = tables[cell.tables[-1]]
    once = (cell.repetition,)
    if cell.question == "ranking":
        yield from headline_episodes([table], cell.shape, once, skipped=skipped)
    elif cell.question == "pool":
        for episode in headline_episodes([table], cell.shape, once, skipped=skipped):
            yield from _pooled(cell, episode, table, skipped)
    elif cell.question == "n-way":
        yield from n_way_episodes([table], cell.shape, once, skipped=skipped)
    elif cell.question == "calibration":
        # A family each repetition, in turn: it is benign rows that are counted, and hundreds of draws of them.
        families = usable_families(table, cell.shape)[0]
        only = table.only([families[cell.repetition % len(families)]])
        yield from headline_episodes([only], cell.shape, once, skipped=skipped)
    else:
        yield from _site_change(cell, tables[cell.tables[0]], table, skipped)


def _pooled(cell: Cell, episode: Episode, table: LabelledTable, skipped: list[Skipped]) -> Iterator[Episode]:
    """The episode with its pool, or without it; none where no pool can be drawn, so that both are of the same."""
    seed = (REFERENCE_SEED, cell.repetition, zlib.crc32(f"{table.name}{episode.family}/pool".encode()))
    try:
        pooled = with_pool(episode, table, np.random.default_rng(seed))
    except EpisodeError as error:
        skipped.append(Skipped(cell.data, episode.family, str(error)))
        return
    yield pooled if cell.split.endswith(WITH_POOL) else episode


def _site_change(cell: Cell, source: LabelledTable, target: LabelledTable, skipped: list[Skipped]) -> Iterator[Episode]:
    """Shots from the other site, and beside them the target's own, over the same columns."""
    for family in shared_families(source, target, cell.shape.least_family_rows):
        seed = (REFERENCE_SEED, cell.repetition, zlib.crc32((source.name + target.name + family).encode()))
        try:
            moved = transfer_episode(
                source, target, family, cell.shape, np.random.default_rng(seed), repetition=cell.repetition
            )
            columns = moved.queries.columns
            rng = np.random.default_rng(seed)
            home = draw_episode(target, [family], cell.shape, rng, columns=columns, repetition=cell.repetition)
        except EpisodeError as error:
            skipped.append(Skipped(cell.data, family, str(error)))
            continue
        yield moved
        yield replace(home, table=f"{cell.data}, own shots")


def _warm_up(learner: Learner, episode: Episode) -> None:
    """Adapt and score once a process, unmeasured: imports and compiled code are nobody's seconds."""
    learner.adapt_to(episode).score(episode.queries[:ALONE_ROWS])


def _check_alone(learner: Learner, adapted: Adapted, episode: Episode, scores: Floats) -> None:
    """Check that rows have the scores that they have among fewer others.

    Raises:
        UserError: they have not.
    """
    alone = adapted.score(episode.queries[:ALONE_ROWS])
    if not np.allclose(scores[:ALONE_ROWS], alone, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise UserError(f"learner {learner.name}: the score of a row depends on the other rows scored with it")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the seconds of CPU it took: those of another day, or beside other work, compare."""
    start = time.process_time()
    out = work()
    return out, time.process_time() - start


def _ranking(learner: Learner, episode: Episode, first: bool) -> Row:
    adapted, adapt_seconds = _timed(lambda: learner.adapt_to(episode))
    scores, score_seconds = _timed(lambda: adapted.score(episode.queries))
    if first:
        _check_alone(learner, adapted, episode, scores)
    return {**_ranked(episode, scores), "adapt_seconds": adapt_seconds, "score_seconds": score_seconds}


def _ranked(episode: Episode, scores: Floats) -> Row:
    truth, scores = episode.threat_queries, np.asarray(scores, np.float64)
    if not np.isfinite(scores).all():
        scores = np.nan_to_num(scores, nan=-1e300, posinf=1e300, neginf=-1e300)
    curve = measures.roc(truth, scores)
    return {
        **measures.ranking(truth, scores),
        "measures": measures.base_rates(curve, int((~truth).sum())),
        "precision": measures.precision_curve(curve),
    }


def _n_way(learner: Learner, episode: Episode, _: bool) -> Row:
    start = time.process_time()
    decider = Decider(learner, episode)
    middle = time.process_time()
    scores, told = decider.scores(episode.queries), decider.names(episode.queries, _FALSE_ALARM_RATES[0])
    end = time.process_time()
    truth = episode.query_labels
    known, unknown = truth > 0, truth == UNKNOWN
    best, strength = scores.argmax(1) + 1, scores.max(1)
    other = (truth != 0)[:, None] & (truth[:, None] != np.arange(1, episode.n_way + 1))
    named = told[:, None] == np.arange(1, episode.n_way + 1)
    found = {
        "macro_f1": measures.macro_f1(truth, told),
        "open_set_auroc": measures.auroc(known[known | unknown], strength[known | unknown]),
        "oscr": measures.oscr(strength[known], (best == truth)[known], strength[unknown]),
        "wrong_name_share": float((named & other).sum() / other.sum()),
        "unknown_named_share": float((told[unknown] > 0).mean()),
    }
    ranked = {**measures.ranking(truth != 0, strength), "recall_at_01pct": None}
    return {
        **ranked,
        "adapt_seconds": middle - start,
        "score_seconds": end - middle,
        "measures": found,
        "precision": [],
    }


def _calibration(learner: Learner, episode: Episode, _: bool) -> Row:
    decider = Decider(learner, episode)
    truth = episode.threat_queries
    p_values = decider.p_values(episode.queries)
    found: dict[str, float] = {}
    for rate in _FALSE_ALARM_RATES:
        if decider.attainable <= rate:
            alarm = p_values <= rate
            found[f"delivered_over_promised_at_{rate:g}"] = float(alarm[~truth].mean() / rate)
            found[f"recall_at_promised_{rate:g}"] = float(alarm[truth].mean())
    return {**_ranked(episode, -p_values), "adapt_seconds": None, "score_seconds": None, "measures": found}


_MEASURED: dict[str, Callable[[Learner, Episode, bool], Row]] = {
    "ranking": _ranking,
    "site-change": _ranking,
    "pool": _ranking,
    "n-way": _n_way,
    "calibration": _calibration,
}
