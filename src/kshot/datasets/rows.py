"""Rows of a source made ready to keep: labels in one spelling, groups, duplicates out."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import polars as pl
from polars.exceptions import PolarsError

from kshot.datasets.declaration import DataSet, matches
from kshot.episodes.tables import BENIGN, LabelledTable, first_of_each, labelled_table
from kshot.errors import InputError

LABEL, SOURCE_LABEL, GROUP, ORDER = "kshot_label", "kshot_source_label", "kshot_group", "kshot_order"
RESERVED = (LABEL, SOURCE_LABEL, GROUP, ORDER)
"""Columns that kshot keeps beside the source's: family or "benign"; the source's own word (benign ones: "benign");
what no split may cut; the place in time (where the declaration tells an order)."""
_GROUP_SEPARATOR = " / "
_MOST_LABELS = 5000
"""More different labels than this are none: they number or describe the rows."""
_WORD_CHARACTERS = 40
"""So much of a label is quoted in a message."""


@dataclass(frozen=True, slots=True)
class KeptRows:
    """What `keep_rows` made of a source."""

    frame: pl.DataFrame
    """Feature columns and what is kept aside, in the source's order, then the `RESERVED` ones that apply."""
    read: int
    excluded: int
    """Rows whose label is neither benign nor an attack, or missing."""
    duplicates: int
    """Rows with the same cells and label as an earlier one."""


def keep_rows(dataset: DataSet, frame: pl.DataFrame, where: str) -> KeptRows:
    """Normalise labels, leave out what the declaration drops, and drop exact duplicates; rows keep their order.

    Raises:
        InputError: a column that the declaration names is missing, or no row is benign where some should be.
    """
    _check_columns(dataset, frame, where)
    try:
        return _keep_rows(dataset, frame, where)
    except PolarsError as error:  # a list or bytes where a text or number is needed
        what = str(error).strip().split("\n", 1)[0][:120]
        raise InputError(where, f"cannot be read as told ({what})", "drop that column, or name another") from error


def _keep_rows(dataset: DataSet, frame: pl.DataFrame, where: str) -> KeptRows:
    beside = [_labels(dataset, frame, where)]
    if dataset.group:
        parts = [pl.col(name).cast(pl.String) for name in dataset.group]
        group = pl.concat_str(parts, separator=_GROUP_SEPARATOR, ignore_nulls=False)
        beside.append(frame.select(group.alias(GROUP)))
    if dataset.order:
        beside.append(_order(dataset, frame, where))
    special = {dataset.label, dataset.family, dataset.order, *dataset.group, *(dataset.dropped - dataset.kept_aside)}
    features = _masked(dataset, frame.drop([c for c in frame.columns if c in special]), where)
    whole = pl.concat([features, *beside], how="horizontal")
    told = whole.filter(pl.col(LABEL).is_not_null())
    if told.height == 0:
        raise InputError(where, f"no row has a label that is kept (column {dataset.label})", "look at exclude")
    key = told.drop([c for c in RESERVED if c in told.columns])
    kept = told[first_of_each(key, told[SOURCE_LABEL].to_numpy().astype(object))]
    return KeptRows(kept, frame.height, frame.height - told.height, told.height - kept.height)


def table_of_rows(dataset: DataSet, kept: pl.DataFrame) -> LabelledTable:
    """Return kept rows as a table for episodes: in order of time where one is told, what is kept aside left out.

    Raises:
        EpisodeError: no feature column is left.
    """
    if ORDER in kept.columns:
        kept = kept.sort(ORDER, maintain_order=True, nulls_last=True)
    features = kept.drop([c for c in (*RESERVED, *dataset.kept_aside) if c in kept.columns])
    groups = kept[GROUP] if GROUP in kept.columns else None
    return labelled_table(dataset.name, dataset.corpus, features, kept[LABEL].to_list(), groups)


def _check_columns(dataset: DataSet, frame: pl.DataFrame, where: str) -> None:
    clash = [name for name in RESERVED if name in frame.columns]
    if clash:
        raise InputError(where, f"has a column named {clash[0]}, which kshot keeps for itself", "rename it")
    named = [("label", dataset.label), ("family", dataset.family), ("fold", dataset.fold), ("order", dataset.order)]
    named += [("group", name) for name in dataset.group]
    named += [("mask", name) for name in dataset.mask]
    named += [("drop", name) for name in sorted(dataset.dropped)]
    for key, column in named:
        if column and column not in frame.columns:
            near = get_close_matches(column, frame.columns, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(frame.columns[:8])}"
            raise InputError(where, f"has no column {column!r}, named as {key}", hint)


def _masked(dataset: DataSet, frame: pl.DataFrame, where: str) -> pl.DataFrame:
    for column, pattern in dataset.mask.items():
        if column not in frame.columns:
            continue  # dropped all the same
        if frame[column].dtype != pl.String:
            raise InputError(where, f"column {column!r} is no text, so that nothing in it can be masked", "drop it")
        try:
            frame = frame.with_columns(pl.col(column).str.replace_all(pattern, ""))
        except PolarsError as error:
            raise InputError(where, f"the mask of {column!r} is no regular expression: {pattern}", "mend it") from error
    return frame


def _labels(dataset: DataSet, frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Return (n) `LABEL` (null: leave the row out) and `SOURCE_LABEL`."""
    if dataset.unlabelled:
        return pl.DataFrame({LABEL: [BENIGN] * frame.height, SOURCE_LABEL: [BENIGN] * frame.height})
    spelled = frame[dataset.label].cast(pl.String).str.strip_chars()
    family = frame[dataset.family].cast(pl.String).str.strip_chars() if dataset.family else spelled
    words = [word for word in spelled.unique(maintain_order=True).to_list() if word]
    if max(len(words), family.n_unique()) > _MOST_LABELS:
        what = (
            f"column {dataset.family or dataset.label!r} holds {max(len(words), family.n_unique()):,} different labels"
        )
        raise InputError(where, what, "is it the label?")
    benign = {word for word in words if matches(word, dataset.benign)}
    if dataset.benign and not benign:
        some = ", ".join(word[:_WORD_CHARACTERS] for word in words[:6])
        raise InputError(
            where, f"no row of column {dataset.label!r} is {' or '.join(dataset.benign)}", f"it holds {some}"
        )
    out = {word for word in words if matches(word, dataset.exclude)} - benign
    if BENIGN in words and BENIGN not in benign | out:
        raise InputError(
            where, f"column {dataset.label!r} holds {BENIGN!r}, which the map calls an attack", "add it to benign"
        )
    is_benign, is_out = spelled.is_in(sorted(benign)), spelled.is_in(sorted(out)) | spelled.is_null() | (spelled == "")
    source = pl.select(pl.when(is_benign).then(pl.lit(BENIGN)).otherwise(family)).to_series().alias(SOURCE_LABEL)
    gone = is_out.fill_null(True) | source.is_null() | (source == "").fill_null(True)
    known = source.unique().drop_nulls().to_list()
    names = {word: BENIGN if word == BENIGN else dataset.family_of(word).name or word for word in known}
    label = source.replace_strict(names, default=None, return_dtype=pl.String)
    chosen = pl.select(pl.when(gone).then(None).otherwise(label)).to_series().alias(LABEL)
    return pl.DataFrame([chosen, source])


def _order(dataset: DataSet, frame: pl.DataFrame, where: str) -> pl.DataFrame:
    column = frame[dataset.order]
    if dataset.order_format:
        try:
            column = column.cast(pl.String).str.to_datetime(dataset.order_format, strict=True)
        except PolarsError as error:
            what = str(error).strip().split("\n", 1)[0][:120]
            raise InputError(where, f"column {dataset.order!r} is not like {dataset.order_format}", what) from error
    return pl.DataFrame([column.rank("ordinal").cast(pl.UInt32).alias(ORDER)])
