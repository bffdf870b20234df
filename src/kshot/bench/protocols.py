"""The protocols as lists of cells: which tables, shots, split, repetition and question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Literal

from kshot.episodes import BENIGN, EpisodeError, LabelledTable, Skipped, TaskShape, check_table, shared_families
from kshot.episodes.splits import Split

Question = Literal["ranking", "n-way", "calibration", "site-change", "pool"]
HEADLINE_KS = (1, 5, 10)
DETECT_KS = (1, 2, 3, 5, 7, 10, 15, 20)
"""Shots that are tried until one finds most."""
N_WAY = 5
MOST_UNKNOWN = 3
LEAST_CALIBRATION_ROWS = 1000
CALIBRATION_REFERENCE = 5000
LARGE_REFERENCE = 20_000
"""What a promise of 1e-3 is measured with, on the tables that have so many benign rows."""
LARGE_QUERIES = 5000
WITH_POOL, WITHOUT_POOL = ", with a pool", ", without a pool"
"""After the name of a split: whether unlabelled rows of the site were given as well."""
_NOISE: tuple[tuple[str, dict[str, float]], ...] = (
    ("", {}),
    (", one wrong shot", {"n_wrong_shots": 1}),
    (", 5 % attacks in the reference", {"hidden_share": 0.05}),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One draw of every family of a table (or of a pair of tables) under one shape."""

    question: Question
    data: str
    """The table's name in results; for a change of site "from -> to"."""
    corpus: str
    split: str
    """The split's name in results: with what was done to the labels, where something was."""
    shape: TaskShape
    repetition: int
    tables: tuple[str, ...]
    corpora: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Protocol:
    """A named question and how its cells are laid out."""

    name: str
    about: str
    ks: tuple[int, ...]
    plan: Callable[[Sequence[LabelledTable], TaskShape, int, list[Skipped]], Iterator[Cell]]
    least_k: int = 1


def cells_of(
    protocol: Protocol,
    tables: Sequence[LabelledTable],
    ks: Sequence[int],
    seeds: int,
    splits: Sequence[Split],
    skipped: list[Skipped],
) -> list[Cell]:
    """Lay out every cell, repetitions outermost: whenever a run is stopped, each has about as many.

    Args:
        protocol: one of `PROTOCOLS`.
        tables: as the protocol wants them prepared.
        ks: numbers of shots; those that the protocol has no use for are left out.
        seeds: repetitions.
        splits: which splits.
        skipped: is told what cannot take part, and why.
    """
    ks = [k for k in dict.fromkeys(ks) if k >= protocol.least_k] if protocol.ks != (0,) else [0]
    out: list[Cell] = []
    told: list[Skipped] = []
    for repetition in range(seeds):
        for k in ks or protocol.ks:
            for split in splits:
                out += protocol.plan(tables, TaskShape(k_shot=k, split=split), repetition, told)
    skipped += dict.fromkeys(told)
    return out


def _usable(
    tables: Sequence[LabelledTable], shape: Callable[[LabelledTable], TaskShape], skipped: list[Skipped]
) -> Iterator[tuple[LabelledTable, TaskShape]]:
    for table in tables:
        wanted = shape(table)
        try:
            check_table(table, wanted)
        except EpisodeError as error:
            skipped.append(Skipped(table.name, "", str(error)))
            continue
        yield table, wanted


def _cell(question: Question, table: LabelledTable, split: str, shape: TaskShape, repetition: int) -> Cell:
    return Cell(question, table.name, table.corpus, split, shape, repetition, (table.name,), (table.corpus,))


def _plain(
    tables: Sequence[LabelledTable], shape: TaskShape, repetition: int, skipped: list[Skipped]
) -> Iterator[Cell]:
    for table, wanted in _usable(tables, lambda _: shape, skipped):
        yield _cell("ranking", table, shape.split, wanted, repetition)


def _noise(
    tables: Sequence[LabelledTable], shape: TaskShape, repetition: int, skipped: list[Skipped]
) -> Iterator[Cell]:
    for table, wanted in _usable(tables, lambda _: shape, skipped):
        for name, change in _NOISE:
            noisy = replace(wanted, **change)  # type: ignore[arg-type]
            yield _cell("ranking", table, shape.split + name, noisy, repetition)


def _n_way(
    tables: Sequence[LabelledTable], shape: TaskShape, repetition: int, skipped: list[Skipped]
) -> Iterator[Cell]:
    def wanted(table: LabelledTable) -> TaskShape:
        enough = sum(len(table.rows_of(family)) >= shape.least_family_rows for family in table.families)
        unknown = min(MOST_UNKNOWN, max(1, enough - N_WAY))
        return replace(shape, n_way=N_WAY, n_unknown=unknown)

    for table, told in _usable(tables, wanted, skipped):
        yield _cell("n-way", table, shape.split, told, repetition)


def _calibration(
    tables: Sequence[LabelledTable], shape: TaskShape, repetition: int, skipped: list[Skipped]
) -> Iterator[Cell]:
    def wanted(table: LabelledTable) -> TaskShape:
        half = len(table.rows_of(BENIGN)) // 2
        n_reference = min(CALIBRATION_REFERENCE, half)
        return replace(shape, n_reference=n_reference, least_benign_rows=2 * LEAST_CALIBRATION_ROWS)

    for table, told in _usable(tables, wanted, skipped):
        yield _cell("calibration", table, shape.split, told, repetition)
        benign = len(table.rows_of(BENIGN))
        if benign >= (2 * LARGE_REFERENCE if shape.split == "blocked" else LARGE_REFERENCE + LARGE_QUERIES):
            large = replace(told, n_reference=LARGE_REFERENCE)
            yield _cell("calibration", table, f"{shape.split}, reference {LARGE_REFERENCE:,}", large, repetition)


def _pool(tables: Sequence[LabelledTable], shape: TaskShape, repetition: int, skipped: list[Skipped]) -> Iterator[Cell]:
    def wanted(table: LabelledTable) -> TaskShape:
        # Half of the benign rows that are not shown are left for the pool.
        spare = (len(table.rows_of(BENIGN)) - shape.n_reference) // 2
        return replace(shape, n_benign_queries=max(1, min(shape.n_benign_queries, spare)))

    for table, told in _usable(tables, wanted, skipped):
        # Not the headline's episodes: fewer benign rows are asked.
        yield _cell("pool", table, shape.split + WITHOUT_POOL, told, repetition)
        yield _cell("pool", table, shape.split + WITH_POOL, told, repetition)


def _site_change(
    tables: Sequence[LabelledTable], shape: TaskShape, repetition: int, skipped: list[Skipped]
) -> Iterator[Cell]:
    pairs = 0
    for source, target in permutations(tables, 2):
        alike = set(source.features.columns) & set(target.features.columns)
        families = shared_families(source, target, shape.least_family_rows)
        if not families or len(alike) < 2 or len(target.rows_of(BENIGN)) < shape.least_benign_rows:
            continue
        pairs += 1
        both = (source.name, target.name)
        corpora = tuple(dict.fromkeys((source.corpus, target.corpus)))
        name = f"{source.name} -> {target.name}"
        yield Cell("site-change", name, target.corpus, shape.split, shape, repetition, both, corpora)
    if not pairs:
        for table in tables:
            skipped.append(Skipped(table.name, "", f"table {table.name}: no other table shares families and columns"))


PROTOCOLS = {
    told.name: told
    for told in (
        Protocol("headline", "one new threat, K shots, against 500 benign rows", HEADLINE_KS, _plain),
        Protocol("reference", "as headline, on tables as the reference implementation prepares them",
                 HEADLINE_KS, _plain),
        Protocol("zero-day", "no shot: the distance from 500 benign rows", (0,), _plain),
        Protocol("n-way", "five threats, benign rows and unknown families among the queries", (5,), _n_way),
        Protocol("calibration", "false alarms delivered over those promised", (5,), _calibration),
        Protocol("base-rates", "precision at 1:1,000 and false alerts a day", HEADLINE_KS, _plain),
        Protocol("packets", "as headline, on flows metered from labelled captures", HEADLINE_KS, _plain),
        Protocol("unlabelled-pool", "a site's unlabelled records beside the shots, and without", (1, 5), _pool),
        Protocol("site-change", "shots from one table, reference and queries from another", (5,), _site_change),
        Protocol("noise", "one shot mislabelled; 5 % attacks hidden in the reference", (5,), _noise, least_k=2),
        Protocol("shots-to-detect", "the K at which recall at 1 % first reaches 0.9", DETECT_KS, _plain),
    )
}  # fmt: skip
"""By name."""
