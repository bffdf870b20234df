"""Columns of a strange table that look like identifiers, times, addresses or the label itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import polars as pl

from kshot.episodes.leaks import label_copies
from kshot.episodes.reference import NEVER_FEATURES
from kshot.episodes.tables import Labels

_WORDS = {
    "address": ("ip", "mac", "addr", "address", "host", "hostname", "port", "sport", "dport", "oui"),
    "identifier": ("id", "uid", "uuid", "guid", "index", "row", "no", "md5", "sha1", "sha256", "file", "hash"),
    "time": ("time", "timestamp", "date", "datetime", "ts", "epoch", "created", "when", "clock", "seen"),
    "label": (
        "label",
        "class",
        "attack",
        "malicious",
        "malware",
        "fraud",
        "verdict",
        "category",
        "subcategory",
        "family",
    ),
    "place in the recording": ("ttl", "capture", "session", "scenario", "group", "fold", "split"),
}
_ANYWHERE = frozenset({"timestamp", "label", "seen"})
"""Words that tell a column by themselves, wherever they stand in its name."""
_COMPOUND = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])")
_MEASURES = frozenset(
    "duration total tot mean avg average max min std stddev var variance sum count cnt ct num number len length rate "
    "per diff same bytes byte byts packets packet pkts size ratio share load loss rtt iat window flag flags "
    "version".split()
)
"""A name with one of these measures something, whatever else it names: `src_bytes`, `dst_host_count`."""
_ADDRESS = r"^(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}|[0-9a-fA-F]*:[0-9a-fA-F:]+)$"
_DATE = r"^\d{1,4}[-/]\w{2,3}[-/]\d{2,4}[ T]?\d*"
_LEAST_ROWS = 20


def suspect_columns(frame: pl.DataFrame, labels: Sequence[str] | Labels, keep: Sequence[str] = ()) -> dict[str, str]:
    """Return the columns that should not be scored on by default, each with the reason in a few words.

    Told by name (`src_ip`, `flow_id`, `timestamp`, `label`), by value (addresses, dates, a number that only rises,
    a different text or whole number in every row whose order is the file's), and by a one-to-one match with the label.

    Args:
        frame: (n, d) candidate columns.
        labels: (n,) labels.
        keep: columns never suspected.
    """
    copies = label_copies(frame, np.array([str(label) for label in labels], dtype=object))
    out: dict[str, str] = {}
    for name in frame.columns:
        if name in keep:
            continue
        copied = "is the label in other words" if name in copies else ""
        reason = _by_name(name) or _by_value(frame[name]) or copied
        if reason:
            out[name] = reason
    return out


def _by_name(name: str) -> str:
    if name in NEVER_FEATURES:
        return "the reference protocol never scores on a column of that name"
    words = [word.lower() for word in _COMPOUND.split(name) if word]
    if not words or (_MEASURES & set(words) and not _ANYWHERE & set(words)):
        return ""
    for kind, known in _WORDS.items():
        leads = len(words) == 2 and words[0] in known and kind != "identifier"
        said = words[-1] in known or leads or _ANYWHERE & set(words) & set(known)
        if said:
            return f"its name reads like {'an' if kind[0] in 'ai' else 'a'} {kind}"
    return ""


def _by_value(column: pl.Series) -> str:
    present = column.drop_nulls()
    if len(present) < _LEAST_ROWS:
        return ""
    if column.dtype.is_temporal():
        return "holds times"
    if column.dtype == pl.String:
        some = present.head(1000)
        for pattern, what in ((_ADDRESS, "addresses"), (_DATE, "dates")):
            if some.str.contains(pattern).mean() > 0.9:  # type: ignore[operator]
                return f"holds {what}"
        return ""
    if column.dtype.is_integer() and len(present) == len(column):
        steps = np.diff(present.cast(pl.Int64, strict=False).fill_null(0).to_numpy())
        if (steps >= 0).all() and present.n_unique() > 0.5 * len(present):
            return "only rises with the rows, like a number of the row or a time"
    return ""
