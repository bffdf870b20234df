"""Which threats an input can be judged for, and their shots in the input's own types."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from kshot.records.threats import Threat


@dataclass(frozen=True, slots=True)
class Fitted:
    """The threats that fit an input, in groups of the same columns, and why the others do not."""

    groups: list[list[Threat]] = field(default_factory=list)
    """Threats judged together; all of one group have the same columns in the same types."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Name of a threat that does not fit -> why not."""


def table_fingerprint(schema: Mapping[str, pl.DataType]) -> str:
    """Of a table threat's columns: their names and whether each is number, flag or text, in any order."""
    told = "\n".join(sorted(f"{name}:{_sort(dtype)}" for name, dtype in schema.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def fit_threats(
    threats: Iterable[Threat], kind: str, schema: Mapping[str, pl.DataType], flow_fingerprint: str
) -> Fitted:
    """Sort threats into those that fit and those that do not.

    Parameters:
        kind: what the input holds, "flow" or "table".
        schema: the input's columns: flow features, or the table's own.
        flow_fingerprint: of the feature schema in use, which flow shots must share.
    """
    groups: dict[tuple[str, ...], list[Threat]] = {}
    fitted = Fitted()
    for threat in threats:
        why, shots = _fit(threat, kind, schema, flow_fingerprint)
        if shots is None:
            fitted.skipped[threat.name] = why
        else:
            columns = tuple(sorted(shots.columns))
            groups.setdefault(columns, []).append(replace(threat, shots=shots.select(sorted_like(schema, columns))))
    fitted.groups.extend(groups.values())
    return fitted


def sorted_like(schema: Mapping[str, pl.DataType], columns: Iterable[str]) -> list[str]:
    """The columns in the input's order, so that the same threat is judged the same whatever order it was saved in."""
    wanted = set(columns)
    return [name for name in schema if name in wanted]


def _fit(
    threat: Threat, kind: str, schema: Mapping[str, pl.DataType], flow_fingerprint: str
) -> tuple[str, pl.DataFrame | None]:
    if threat.kind != kind:
        return f"it was taught on {_plural(threat.kind)}, the input holds {_plural(kind)}", None
    if kind == "flow" and threat.fingerprint != flow_fingerprint:
        return "it was taught with another version of the flow features; learn it again", None
    missing = [name for name in threat.shots.columns if name not in schema]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        return f"the input lacks {'column' if len(missing) == 1 else 'columns'} {', '.join(missing[:3])}{more}", None
    shots = threat.shots
    for name, ours in shots.schema.items():
        theirs = schema[name]
        if ours == theirs:
            continue
        if _sort(ours) != _sort(theirs) and theirs != pl.Null:
            return f"column {name} is {_sort(theirs)} in the input and {_sort(ours)} in the threat", None
    return "", shots


def plain_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Numbers as Float64, flags, texts; a column without any value as Null, which fits every type.

    Two files of one origin rarely agree on Int64 or Float64, and an empty column reads as whatever the reader guesses.
    """

    def plain(series: pl.Series) -> pl.Series:
        if series.null_count() == series.len():
            return pl.Series(series.name, [None] * series.len(), dtype=pl.Null)
        if series.dtype.is_numeric():
            return series.cast(pl.Float64)
        if series.dtype in (pl.Categorical, pl.Enum):
            return series.cast(pl.String)
        return series

    return frame.select(plain(series) for series in frame)


def _sort(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "flag"
    if dtype.is_numeric():
        return "number"
    if dtype == pl.String or dtype in (pl.Categorical, pl.Enum):
        return "text"
    return str(dtype)


def _plural(kind: str) -> str:
    return "flows" if kind == "flow" else "table rows"
