"""What could give the answers of an imported data set away, measured on its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from kshot.datasets.library import Library, Manifest
from kshot.datasets.rows import LABEL
from kshot.episodes.draw import HEADLINE, usable_families
from kshot.episodes.leaks import GIVES_AWAY, both_ways, repeated_across, shortcut, shortcuts_by_family
from kshot.episodes.suspects import suspect_columns
from kshot.episodes.tables import BENIGN, UNGROUPED, LabelledTable
from kshot.errors import InputError

_DRIFT = 0.005
"""A measured shortcut further than this from the declared one is reported."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check_dataset` found."""

    kind: Literal["leak", "note"]
    """`leak`: a figure on this set may be worth less than it looks. `note`: good to know."""
    text: str


def check_dataset(library: Library, name: str) -> list[Finding]:
    """Read an imported set again, checksum and all, and report what could leak.

    Raises:
        UserError: not imported, or damaged.
    """
    manifest, kept = library.rows(name)
    table = library.load(name)
    return [
        *_provenance(manifest),
        *_shortcuts(manifest, table),
        *_columns(table),
        *_folds(manifest, kept),
        *_groups(table),
        *_labels(table),
        *_other_tables(library, manifest, table),
    ]


def _provenance(manifest: Manifest) -> Iterator[Finding]:
    if manifest.dataset.sha256 and not manifest.verified:
        yield Finding("note", "imported from other bytes than the map was made for")
    elif not manifest.dataset.sha256:
        yield Finding("note", f"the map states no checksum; the file's was {manifest.source_sha256}")
    if manifest.dataset.unlabelled:
        yield Finding("note", "unlabelled: for pseudo-threats alone")


def _shortcuts(manifest: Manifest, table: LabelledTable) -> Iterator[Finding]:
    best = shortcut(table)
    if best is None:
        if not manifest.dataset.unlabelled:
            yield Finding("note", "rows of one side alone, so that no column can be measured as a shortcut")
        return
    told = manifest.dataset.shortcut
    kind: Literal["leak", "note"] = "leak" if best.auroc > GIVES_AWAY else "note"
    yield Finding(kind, f"column {best.column} alone tells all attacks from benign rows with AUROC {best.auroc:.3f}")
    if told is not None and manifest.verified and abs(told.auroc - best.auroc) > _DRIFT:
        yield Finding("leak", f"the map states {told.auroc:.3f} by {told.column}: the import is not what was measured")
    for found in shortcuts_by_family(table):
        count = len(table.rows_of(found.family))
        yield Finding(
            "leak" if count >= HEADLINE.least_family_rows else "note",
            f"column {found.column} alone tells {found.family} ({count:,} rows) with AUROC {found.auroc:.3f}",
        )


def _columns(table: LabelledTable) -> Iterator[Finding]:
    for column, reason in suspect_columns(table.features, table.labels).items():
        yield Finding("note", f"column {column} is a feature, but {reason}")


def _folds(manifest: Manifest, kept: pl.DataFrame) -> Iterator[Finding]:
    fold = manifest.dataset.fold
    if not fold:
        return
    features = kept.drop([c for c in kept.columns if c in manifest.dataset.kept_aside or c.startswith("kshot_")])
    keyed = features.with_columns(kept[LABEL], kept[fold].alias("\x00fold"))
    folds = keyed.group_by([*features.columns, LABEL]).agg(pl.col("\x00fold").n_unique().alias("\x00folds"))
    across = folds.filter(pl.col("\x00folds") > 1).height
    if across:
        yield Finding("leak", f"{across:,} rows are in more than one of the source's own folds (column {fold})")


def _groups(table: LabelledTable) -> Iterator[Finding]:
    if table.groups is None:
        yield Finding("note", "no groups: neighbours of one burst are kept apart by the blocked split alone")
        return
    present = np.unique(table.groups[table.groups != UNGROUPED])
    yield Finding("note", f"{len(present):,} groups, each whole on one side")
    for family, why in usable_families(table, HEADLINE)[1].items():
        if "one group" in why:
            yield Finding("note", f"{family} {why}: no episode is drawn of it")


def _labels(table: LabelledTable) -> Iterator[Finding]:
    confused = both_ways(table)
    if confused:
        yield Finding("note", f"{confused:,} rows have cells that also occur with another label")
    benign = len(table.rows_of(BENIGN))
    if benign < HEADLINE.least_benign_rows:
        yield Finding(
            "note",
            f"{benign:,} benign rows: the headline protocol needs {HEADLINE.least_benign_rows:,} and skips this set",
        )
    small = [family for family in table.families if len(table.rows_of(family)) < HEADLINE.least_family_rows]
    if small:
        named = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if len(small) > 5 else "")
        yield Finding(
            "note", f"fewer than {HEADLINE.least_family_rows} rows, so skipped by the headline protocol: {named}"
        )


def _other_tables(library: Library, manifest: Manifest, table: LabelledTable) -> Iterator[Finding]:
    """Rows that another imported set has too, where both have the same columns."""
    for other in library.names():
        if other == manifest.dataset.name:
            continue
        try:
            if set(library.features(other)) != set(table.features.columns):
                continue
            second = library.load(other)
        except InputError:  # a check of the other one tells
            continue
        shared = repeated_across(second, table)
        if shared:
            same = "the same corpus" if second.corpus == table.corpus else f"corpus {second.corpus}"
            kind: Literal["leak", "note"] = "note" if second.corpus == table.corpus else "leak"
            yield Finding(kind, f"{shared:,} rows are also in {other}, of {same}")
