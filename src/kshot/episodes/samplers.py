"""Seeded streams of training episodes: within one corpus, or across many with different columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np

from kshot.episodes.draw import TaskShape, draw_episode, usable_families
from kshot.episodes.episode import Episode
from kshot.episodes.leaks import LeakError, refuse_repeats
from kshot.episodes.protocol import Skipped
from kshot.episodes.pseudo import PSEUDO, PseudoThreats
from kshot.episodes.tables import BENIGN, EpisodeError, LabelledTable

Scope = Literal["intrinsic", "cross-domain"]
"""`intrinsic`: all tasks are of one corpus. `cross-domain`: each is of a corpus drawn at random, whatever its columns
(flows, web requests, malware, sensors): only a learner that reads any schema can take them."""
TRAINING = TaskShape(
    n_reference=256, n_benign_queries=128, n_family_queries=64, least_family_rows=20, least_benign_rows=600
)
"""Small enough for many a second; the reference varies little beyond a few hundred rows."""
_TRIES = 50
_Source = TypeVar("_Source")


@dataclass(frozen=True)
class EpisodeSampler:
    """Draws episodes from tables: a corpus, then a table of it, then families of that, each with equal chance.

    >>> import polars as pl
    >>> rows = pl.DataFrame({"x": range(90), "y": [i % 7 for i in range(90)]})
    >>> table = LabelledTable("t", "lab", rows, np.array(["benign"] * 60 + ["worm"] * 30, dtype=object))
    >>> shape = TaskShape(k_shot=2, n_reference=20, least_benign_rows=50, least_family_rows=10)
    >>> EpisodeSampler([table], shape).draw(np.random.default_rng(0)).family
    'worm'
    """

    tables: Sequence[LabelledTable]
    shape: TaskShape = TRAINING
    k_shots: Sequence[int] = ()
    """K is drawn from these; empty: always the shape's."""
    scope: Scope = "cross-domain"
    corpus: str | None = None
    """The one corpus of an intrinsic sampler; may be left out where the tables are all of one."""
    pseudo_share: float = 0.0
    """How many tasks in one are pseudo-threats, cut from benign or unlabelled rows (one-way tasks only)."""
    column_share: tuple[float, float] = (1.0, 1.0)
    """Each task keeps a share of the columns drawn between these, at least two: another schema each time. Rows that
    differ only in the columns left out are equal then, on either side."""
    skipped: list[Skipped] = field(default_factory=list, init=False)
    """Tables and families that no task can be drawn from, and why."""
    _labelled: dict[str, list[tuple[LabelledTable, tuple[str, ...]]]] = field(default_factory=dict, init=False)
    _unlabelled: dict[str, list[PseudoThreats]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        needed = self.shape.n_way + self.shape.n_unknown
        for table in self._in_scope():
            refuse_repeats(table)
            benign = len(table.rows_of(BENIGN))
            if self.shape.n_reference and benign < self.shape.least_benign_rows:
                self.skipped.append(Skipped(table.name, "", f"has {benign} benign rows"))
                continue
            good, bad = usable_families(table, self.shape)
            self.skipped.extend(Skipped(table.name, family, why) for family, why in bad.items())
            if len(good) >= needed:
                self._labelled.setdefault(table.corpus, []).append((table, good))
            if self.pseudo_share > 0.0:
                self._unlabelled.setdefault(table.corpus, []).append(PseudoThreats(table))
        if self.pseudo_share > 0.0 and needed != 1:
            raise EpisodeError("pseudo-threats make tasks of one family; set pseudo_share to 0 or n_way to 1")
        self._refuse_nothing()

    def draw(self, rng: np.random.Generator) -> Episode:
        """Draw one episode.

        Raises:
            EpisodeError: nothing could be drawn in many tries (groups that cannot be divided, slices too small).
        """
        failed: EpisodeError | None = None
        for _ in range(_TRIES):
            k_shot = int(rng.choice(np.asarray(self.k_shots))) if self.k_shots else self.shape.k_shot
            shape = replace(self.shape, k_shot=k_shot)
            pseudo = bool(self._unlabelled) and (not self._labelled or rng.random() < self.pseudo_share)
            try:
                return self._pseudo(rng, shape) if pseudo else self._family(rng, shape)
            except LeakError:
                raise
            except EpisodeError as error:
                failed = error
        assert failed is not None
        raise failed

    def stream(self, rng: np.random.Generator) -> Iterator[Episode]:
        """Give episodes without end."""
        while True:
            yield self.draw(rng)

    def batch(self, rng: np.random.Generator, size: int) -> list[Episode]:
        """Draw `size` episodes."""
        return [self.draw(rng) for _ in range(size)]

    def _in_scope(self) -> list[LabelledTable]:
        corpora = sorted({table.corpus for table in self.tables})
        if self.scope == "cross-domain":
            return list(self.tables)
        if self.corpus is None and len(corpora) > 1:
            raise EpisodeError(f"an intrinsic sampler is of one corpus; choose from {', '.join(corpora)}")
        chosen = self.corpus or (corpora[0] if corpora else "")
        if chosen not in corpora:
            raise EpisodeError(f"no table is of corpus {chosen!r}; the corpora are {', '.join(corpora)}")
        return [table for table in self.tables if table.corpus == chosen]

    def _refuse_nothing(self) -> None:
        if self._labelled or self._unlabelled:
            return
        reasons = "; ".join(f"{s.table} {s.family} {s.reason}".replace("  ", " ") for s in self.skipped[:3])
        raise EpisodeError("no table can give such a task" + (f": {reasons}" if reasons else "; give tables"))

    def _family(self, rng: np.random.Generator, shape: TaskShape) -> Episode:
        table, families = _one_of(self._labelled, rng)
        chosen = [families[i] for i in rng.permutation(len(families))[: shape.n_way + shape.n_unknown]]
        columns = self._columns(table, rng)
        return draw_episode(table, chosen[: shape.n_way], shape, rng, chosen[shape.n_way :], columns=columns)

    def _pseudo(self, rng: np.random.Generator, shape: TaskShape) -> Episode:
        source = _one_of(self._unlabelled, rng)
        table = source.draw(rng, shape.least_family_rows)
        return draw_episode(table, [PSEUDO], shape, rng, columns=self._columns(table, rng))

    def _columns(self, table: LabelledTable, rng: np.random.Generator) -> list[str] | None:
        low, high = self.column_share
        if high >= 1.0 and low >= 1.0:
            return None
        names = table.features.columns
        count = min(len(names), max(2, round(rng.uniform(low, high) * len(names))))
        return [names[i] for i in np.sort(rng.permutation(len(names))[:count])]


def _one_of(by_corpus: dict[str, list[_Source]], rng: np.random.Generator) -> _Source:
    corpora = list(by_corpus)
    sources = by_corpus[corpora[int(rng.integers(len(corpora)))]]
    return sources[int(rng.integers(len(sources)))]
