"""Shows what a label would change, before it is given."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from kshot.records.kept import KeptAlert, Label
    from kshot.records.threats import Threat
    from kshot.store.alerts import AlertStore
    from kshot.stream.previewing import Preview

_DAYS = 7
_MOST_SHOWN = 20


def show_preview(kept: AlertStore, label: Label, reference: Sequence[str] | None) -> None:
    """Print what `label` would change on the alerts of the last 7 days, and on late records where they are kept.

    Raises:
        UserError, InputError: there is nothing to measure against, or nothing to learn from.
    """
    from kshot.stream.previewing import preview
    from kshot.stream.reservoir import unpacked

    # A segment bears the name of its reference.
    threats, benign = _known(reference or ([label.segment] if label.segment else None))
    since = time.time_ns() - _DAYS * 86_400 * 10**9
    newest = max((one.last_nanoseconds or 0 for one in kept.alerts()), default=0)
    # A replayed capture is of another time: then the last days before its end.
    since = min(since, newest - _DAYS * 86_400 * 10**9)
    alerts = kept.with_evidence([one for one in kept.alerts() if (one.last_nanoseconds or 0) >= since])
    if label.verdict != "malicious" and label.segment is not None:
        alerts = [one for one in alerts if one.segment == label.segment]
    parts = [unpacked(part) for part in kept.late_records()]
    late: pl.DataFrame | None = None
    if parts:
        import polars

        late = polars.concat([part for part in parts if part.columns == parts[-1].columns])
    _print(label, preview(label, alerts, threats, benign, late), len(alerts))


def _known(reference: Sequence[str] | None) -> tuple[dict[str, Threat], pl.DataFrame]:
    """Threats by name, and normal records."""
    from kshot.cli.reference import read_reference
    from kshot.cli.scan import load_threats
    from kshot.errors import UserError
    from kshot.stream.metering import MeterOptions

    own, laboratory, _ = load_threats([])
    threats = {threat.name: threat for threat in (*(laboratory.threats if laboratory else ()), *own)}
    if reference:
        return threats, read_reference(reference, MeterOptions()).records.features
    if laboratory is None:
        raise UserError("there is nothing to measure against; give --reference as told to kshot watch")
    return threats, laboratory.reference


def _print(label: Label, told: Preview, count: int) -> None:
    from rich.text import Text

    from kshot.cli.clean import clean
    from kshot.cli.views import render

    lines = [f"on {count:,} alerts of the last {_DAYS} days, {label.verdict} of {label.threat}:"]
    if label.verdict == "malicious":
        lines += _listed("would also be of this threat", told.like_it)
        if told.late_records:
            lines.append(f"  {told.late_alarms:,} of {told.late_records:,} late records of no alert would alarm")
    else:
        lines += _listed("would not have been", told.muted)
        lines += _listed("would have been smaller", told.smaller)
    lines.append("nothing was changed; leave out --preview to give the label")
    parts: list[Any] = [Text(clean(line)) for line in lines]
    render(parts, None)


def _listed(what: str, alerts: Sequence[KeptAlert]) -> list[str]:
    shown = [
        f"    {one.id}: {one.threat}, {one.originator or 'many'} > {one.responder or 'many'}, {one.flows:,} records"
        for one in alerts[:_MOST_SHOWN]
    ]
    more = [f"    and {len(alerts) - _MOST_SHOWN:,} more"] if len(alerts) > _MOST_SHOWN else []
    return [f"  {len(alerts):,} {what}", *shown, *more]
