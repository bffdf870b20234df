"""The page's tables of alerts and of what the truth says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from kshot.report.contents import Tally
from kshot.report.markup import badge, number, percent, share_bar, shown, split_reason, table

MOST_ALERTS = 500
"""Of a page; the loudest."""
_ALERT_HEAD = (
    ("threat", ""),
    ("originator → responder", ""),
    ("first seen", ""),
    ("lasted", "number"),
    ("flows", "number"),
    ("p-value", "number"),
    ("score", "number"),
    ("ATT&CK", ""),
    ("why", "why"),
)


def alerts_html(alerts: pl.DataFrame, title: str, colours: Mapping[str, int]) -> str:
    """A row an alert; with the page's script they can be sorted and searched."""
    rows = [_alert(alert, colours) for alert in alerts.head(MOST_ALERTS).iter_rows(named=True)]
    tools = (
        '<p class="tools" hidden><label>Show only <input type="search" placeholder="threat, address, feature" '
        'aria-controls="alert-table"></label> <output aria-live="polite"></output></p>'
    )
    body = table(f"{title}, the loudest first", _ALERT_HEAD, rows, kind="alerts cards sortable")
    return f'{tools}<div id="alert-table">{body}</div>'


def _alert(alert: Mapping[str, Any], colours: Mapping[str, int]) -> tuple[str, ...]:
    first, last = alert["first_time"], alert["last_time"]
    seconds = (last - first).total_seconds() if first and last else None
    reasons = "".join(
        f"<li><b>{shown(what)}</b> {shown(rest)}</li>" for what, rest in map(split_reason, alert["reasons"])
    )
    sides = (f'<span class="party">{shown(alert[side] or "?")}</span>' for side in ("originator", "responder"))
    return (
        badge(alert["threat"], colours),
        " → ".join(sides),
        _sorted_by(first.timestamp(), f"{first:%H:%M:%S}") if first else "",
        _sorted_by(seconds, _lasted(seconds)) if seconds is not None else "",
        _sorted_by(alert["flows"], f"{alert['flows']:,}"),
        _sorted_by(alert["p_value"], f"{alert['p_value']:.2g}") if alert["p_value"] is not None else "none",
        _sorted_by(alert["score"], number(alert["score"])),
        " ".join(f"<code>{shown(technique)}</code>" for technique in alert["attack"]),
        f"<ul>{reasons}</ul>",
    )


def _sorted_by(key: float, text: str) -> str:
    return f'<span data-sort="{key}">{text}</span>'


def _lasted(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def truth_html(tallies: Sequence[Tally], colours: Mapping[str, int]) -> str:
    """A row a threat: how many of its flows were found; and how many benign flows alarmed."""
    before = any(tally.alarmed_before is not None for tally in tallies)
    head = [("what", ""), ("made by", ""), ("flows", "number"), *([("found before", "number")] if before else [])]
    head += [("found", "number"), ("under its name", "number"), ("", "barcell")]
    return table(
        "Flows of each threat, and how many alarmed",
        head,
        (_tally(t, colours, before) for t in tallies),
        kind="truth cards",
    )


def _tally(tally: Tally, colours: Mapping[str, int], before: bool) -> tuple[str, ...]:
    bars = share_bar(tally.share, tally.threat, colours)
    was = []
    if before:
        share = tally.share_before
        was = [f"{tally.alarmed_before:,} <small>{percent(share)}</small>" if share is not None else ""]
        bars = share_bar(share or 0.0, "", colours) + bars
    return (
        badge(tally.threat, colours) if tally.threat else "<b>benign</b> <small>(false alarms)</small>",
        shown(", ".join(tally.tools)) if tally.tools else "users and machines",
        f"{tally.flows:,}",
        *was,
        f"{tally.alarmed:,} <small>{percent(tally.share)}</small>",
        f"{tally.named:,}" if tally.threat else "",
        bars,
    )
