"""What a label would change, on the alerts and records of late, before it is applied."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from kshot.features import FEATURE_COLUMNS, settle
from kshot.records.kept import KeptAlert, Label
from kshot.records.threats import Threat
from kshot.stream.feedback import LookAlike, Taught
from kshot.stream.pipeline import DEFAULT_RATE
from kshot.stream.standing import quick_panel

_TYPES = {column.name: column.dtype for column in FEATURE_COLUMNS}


@dataclass(frozen=True, slots=True)
class Preview:
    """What would have been otherwise."""

    muted: tuple[KeptAlert, ...]
    """Alerts that would not have been: all records kept of them are harmless by the label."""
    smaller: tuple[KeptAlert, ...]
    """Alerts that would have had fewer records."""
    like_it: tuple[KeptAlert, ...]
    """Alerts of other names with a record that would alarm as the threat of a malicious label."""
    late_records: int
    """Late records of no alert that were asked; 0 where none are kept."""
    late_alarms: int
    """Those that would alarm."""


def preview(
    label: Label,
    alerts: Sequence[KeptAlert],
    known: Mapping[str, Threat],
    benign: pl.DataFrame,
    late: pl.DataFrame | None = None,
    rate: float = DEFAULT_RATE,
) -> Preview:
    """Judge the records kept of `alerts`, and `late` ones, by what the label teaches.

    known: threats by name. benign: features of normal records, what to measure against. The other threats do not enter:
    whether one of them would speak louder is not asked.

    Raises:
        UserError: the label teaches nothing, or `benign` holds too few records.
    """
    held = json.loads(label.features[0])
    schema = {name: _TYPES[name] for name in benign.columns if name in held}
    fitting = {name: one for name, one in known.items() if set(schema) <= set(one.shots.columns)}
    taught = Taught(fitting, [label], schema)
    if label.verdict != "malicious":
        return _harmless(label, alerts, taught, fitting, benign.select(list(schema)))
    names = [one for one in alerts if one.threat != label.threat and one.id != label.alert]
    panel, columns = quick_panel(taught.threats, benign.select(list(schema)))
    reference = benign.select(columns)

    def alarms(rows: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        judged = panel.judge(settle(rows.select(columns), reference), unknown=False)
        allowed = max(rate, panel.attainable(unknown=False)) * (1.0 + 1e-12)
        return np.asarray(judged.p_values <= allowed)

    like_it = tuple(one for one in names if len(rows := _rows(one, columns)) and alarms(rows).any())
    usable = late is not None and late.height and set(columns) <= set(late.columns)
    found = int(alarms(late).sum()) if usable and late is not None else 0
    return Preview((), (), like_it, late.height if usable and late is not None else 0, found)


def _harmless(
    label: Label, alerts: Sequence[KeptAlert], taught: Taught, known: Mapping[str, Threat], benign: pl.DataFrame
) -> Preview:
    muted, smaller = [], []
    if label.threat in known and label.threat in taught.look_alikes:
        columns = [name for name in benign.columns if name in known[label.threat].shots.columns]
        frames = (known[label.threat].shots, benign, *taught.look_alikes[label.threat])
        shots, normal, *harmless = (frame.select(columns) for frame in frames)
        look_alike = LookAlike(shots, harmless, normal, 0)
        for alert in alerts:
            rows = _rows(alert, columns) if alert.threat == label.threat else pl.DataFrame()
            if rows.height:
                is_harmless = look_alike.is_harmless(rows)
                muted += [alert] if is_harmless.all() else []
                smaller += [alert] if is_harmless.any() and not is_harmless.all() else []
    return Preview(tuple(muted), tuple(smaller), (), 0, 0)


def _rows(alert: KeptAlert, columns: Sequence[str]) -> pl.DataFrame:
    """The records kept of an alert that tell all `columns`."""
    told = [json.loads(one.features) for one in alert.evidence]
    rows = [[row[name] for name in columns] for row in told if set(columns) <= set(row)]
    return pl.DataFrame(rows, schema={name: _TYPES[name] for name in columns}, orient="row")
