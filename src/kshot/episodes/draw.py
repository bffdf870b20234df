"""Draw one episode of a given shape from a labelled table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kshot.episodes.episode import UNKNOWN, Episode, Loss
from kshot.episodes.leaks import refuse_leaks
from kshot.episodes.splits import Sides, Split, Splitter
from kshot.episodes.tables import BENIGN, EpisodeError, LabelledTable, Rows


@dataclass(frozen=True, slots=True)
class TaskShape:
    """How many of what an episode holds; the defaults are those of the headline protocol (docs: evaluation)."""

    n_way: int = 1
    """Families shown."""
    k_shot: int = 5
    """Examples of each; 0 with `n_way` 1 is a zero-day: the family is among the queries alone."""
    n_reference: int = 500
    """Benign rows shown; 0 for plain N-way tasks of tables without benign rows."""
    n_benign_queries: int = 5000
    """At most so many benign queries."""
    n_family_queries: int = 100
    """At most so many queries of each family, known or unknown."""
    n_unknown: int = 0
    """Families among the queries that have no shot."""
    split: Split = "iid"
    n_wrong_shots: int = 0
    """So many shots (of all) are benign rows with a family's label."""
    hidden_share: float = 0.0
    """This share of the reference is rows of the shown families, unmarked."""
    least_family_rows: int = 40
    """A family with fewer rows is left out."""
    least_benign_rows: int = 1500
    """A table with fewer benign rows is left out (where `n_reference` is not 0)."""

    @property
    def loss(self) -> Loss:
        """The loss of such a task."""
        return "binary" if self.n_way == 1 and self.n_unknown == 0 else "multiclass"


HEADLINE = TaskShape()
"""One new threat against the reference, K = 5."""


def usable_families(table: LabelledTable, shape: TaskShape) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the families that have rows enough on both sides, and why each of the others has not."""
    good: list[str] = []
    skipped: dict[str, str] = {}
    for family in table.families:
        rows = table.rows_of(family)
        if len(rows) < shape.least_family_rows:
            skipped[family] = f"has {len(rows)} rows, {shape.least_family_rows} are needed"
        elif len(_groups_of(table, rows)) == 1:
            skipped[family] = f"lies in one group ({_groups_of(table, rows)[0]}), which cannot be shown and asked"
        else:
            good.append(family)
    return tuple(good), skipped


def check_table(table: LabelledTable, shape: TaskShape) -> tuple[str, ...]:
    """Return the table's usable families.

    Raises:
        EpisodeError: too few benign rows, or too few usable families; says which and how many.
    """
    benign = len(table.rows_of(BENIGN))
    if shape.n_reference and benign < shape.least_benign_rows:
        raise EpisodeError(
            f"table {table.name}: {benign:,} benign rows, {shape.least_benign_rows:,} are needed; "
            "give more, or ask for fewer (least_benign_rows)"
        )
    good, skipped = usable_families(table, shape)
    needed = shape.n_way + shape.n_unknown
    if len(good) < needed:
        reasons = "; ".join(f"{family} {why}" for family, why in list(skipped.items())[:3])
        raise EpisodeError(
            f"table {table.name}: {len(good)} usable families, {needed} are needed"
            + (f" ({reasons})" if reasons else "")
        )
    return good


def draw_episode(
    table: LabelledTable,
    families: Sequence[str],
    shape: TaskShape,
    rng: np.random.Generator,
    unknown: Sequence[str] = (),
    *,
    columns: Sequence[str] | None = None,
    seed: tuple[int, ...] = (),
    repetition: int = 0,
) -> Episode:
    """Draw an episode that shows `families` and also asks for `unknown` ones.

    Args:
        table: where from.
        families: the N that are shown.
        shape: how many of what.
        rng: all chance comes from here.
        unknown: families among the queries alone.
        columns: the feature columns to keep; all, where None.
        seed: what `rng` was seeded with, kept in the episode.
        repetition: which of several episodes of one family this is, kept in the episode.

    Raises:
        EpisodeError: a family or the benign rows are too few on one side; or what was drawn would leak.
    """
    _check_arguments(table, families, shape, unknown)
    splitter = Splitter(table, shape.split, rng, shape.n_reference + shape.n_wrong_shots)
    sides = {family: splitter.family(family) for family in families}
    strangers = {family: splitter.family(family) for family in unknown}
    benign = splitter.benign() if shape.n_reference or shape.n_benign_queries else Sides(*(np.empty(0, np.int64),) * 2)
    _check_sides(table, sides, strangers, benign, shape)
    shots = _join([side.shown[: shape.k_shot] for side in sides.values()])
    reference = benign.shown[: shape.n_reference]
    wrong, hidden = _noise(table, sides, benign, shape, rng)
    shots, reference = _replaced(shots, wrong, rng), _replaced(reference, hidden, rng)
    asked = [side.asked[: shape.n_family_queries] for side in (*sides.values(), *strangers.values())]
    queries = rng.permutation(_join([*asked, benign.asked[: shape.n_benign_queries]]))
    names = table.labels[queries]
    label_of = {BENIGN: 0} | {family: i for i, family in enumerate(families, 1)} | dict.fromkeys(unknown, UNKNOWN)
    # One gather for all rows is three times as fast as one each; the parts are views of it.
    features = table.features if columns is None else table.features.select(columns)
    rows = features[np.concatenate([reference, shots, queries])]
    episode = Episode(
        reference=rows[: len(reference)],
        shots=rows[len(reference) : len(reference) + len(shots)],
        shot_labels=np.repeat(np.arange(1, len(families) + 1), shape.k_shot),
        queries=rows[len(reference) + len(shots) :],
        query_labels=np.array([label_of[name] for name in names], dtype=np.int64),
        families=tuple(families),
        query_families=names,
        table=table.name,
        corpus=table.corpus,
        k_shot=shape.k_shot,
        loss=shape.loss,
        split=shape.split,
        seed=seed,
        repetition=repetition,
        wrong_shots=len(wrong),
        hidden_attacks=len(hidden),
        reference_rows=reference,
        shot_rows=shots,
        query_rows=queries,
    )
    refuse_leaks(episode, table)
    return episode


def _noise(
    table: LabelledTable, sides: dict[str, Sides], benign: Sides, shape: TaskShape, rng: np.random.Generator
) -> tuple[Rows, Rows]:
    """Return the benign rows that pose as shots, and the attack rows that hide in the reference."""
    n_hidden = round(shape.hidden_share * shape.n_reference)
    if not shape.n_wrong_shots and not n_hidden:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    wrong = benign.shown[shape.n_reference : shape.n_reference + shape.n_wrong_shots]
    spare = rng.permutation(_join([side.shown[shape.k_shot :] for side in sides.values()]))
    if len(wrong) < shape.n_wrong_shots or len(spare) < n_hidden or shape.n_wrong_shots > shape.k_shot * shape.n_way:
        raise EpisodeError(
            f"table {table.name}: {len(wrong)} benign and {len(spare)} attack rows are left to be mislabelled, "
            f"{shape.n_wrong_shots} (no more than the shots) and {n_hidden} are needed"
        )
    return wrong, spare[:n_hidden]


def _replaced(rows: Rows, others: Rows, rng: np.random.Generator) -> Rows:
    """Put `others` in the place of as many of `rows`."""
    if not len(others):
        return rows
    out = rows.copy()
    out[rng.permutation(len(rows))[: len(others)]] = others
    return out


def _check_arguments(table: LabelledTable, families: Sequence[str], shape: TaskShape, unknown: Sequence[str]) -> None:
    if len(families) != shape.n_way or len(unknown) != shape.n_unknown:
        raise EpisodeError(
            f"table {table.name}: {len(families)} families and {len(unknown)} unknown ones given for a task of "
            f"{shape.n_way} and {shape.n_unknown}"
        )
    if shape.k_shot == 0 and shape.n_way != 1:
        raise EpisodeError(f"a task of {shape.n_way} families needs shots; K = 0 is for one")
    strange = [family for family in (*families, *unknown) if not len(table.rows_of(family))]
    if strange:
        raise EpisodeError(f"table {table.name} has no family {strange[0]}; it has {', '.join(table.families)}")
    if len({*families, *unknown}) != len(families) + len(unknown):
        raise EpisodeError(f"table {table.name}: a family is named twice in one task")


def _check_sides(
    table: LabelledTable, sides: dict[str, Sides], unknown: dict[str, Sides], benign: Sides, shape: TaskShape
) -> None:
    for family, side in sides.items():
        if len(side.shown) < shape.k_shot or not len(side.asked):
            raise EpisodeError(
                f"table {table.name}: family {family} has {len(side.shown)} rows to show and {len(side.asked)} to ask "
                f"under the {shape.split} split, {shape.k_shot} and 1 are needed{_blame(table, family)}"
            )
    for family, side in unknown.items():
        if not len(side.asked):
            raise EpisodeError(
                f"table {table.name}: the unknown family {family} has no row to ask{_blame(table, family)}"
            )
    if shape.n_reference and (len(benign.shown) < shape.n_reference or not len(benign.asked)):
        raise EpisodeError(
            f"table {table.name}: {len(benign.shown)} benign rows to show and {len(benign.asked)} to ask under the "
            f"{shape.split} split, {shape.n_reference} and 1 are needed{_blame(table, BENIGN)}"
        )


def _blame(table: LabelledTable, label: str) -> str:
    groups = _groups_of(table, table.rows_of(label))
    return f"; its rows lie in {len(groups)} groups, kept whole" if groups and len(groups) < 20 else ""


def _groups_of(table: LabelledTable, rows: Rows) -> list[str]:
    """Names of the groups of `rows`; empty unless every row has one."""
    if table.groups is None or not len(rows) or (table.groups[rows] < 0).any():
        return []
    return [table.group_name(group) for group in np.unique(table.groups[rows]).tolist()]


def _join(parts: list[Rows]) -> Rows:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
