"""The part of the page that looks behind alerts, feature by feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kshot.report.charts import place_strip
from kshot.report.contents import YES_OR_NO, Evidence, Feature
from kshot.report.markup import badge, facts, number, shown, split_reason, table

ABOUT = (
    "The loudest flow of an alert, feature by feature: its value, those of the shots most like it, and those of the "
    "benign flows most like it. The strip shows where these lie among the benign flows of this network, by rank."
)
_MINE = '<path class="mine" d="M7 1l6 8-6 8-6-8z"/>'
_DOT = '<circle class="{}" cx="7" cy="9" r="4.5"/>'
_KEY = (
    (_MINE, "this flow"),
    (_DOT.format("near-shot"), "nearest shots"),
    (_DOT.format("near-benign"), "nearest benign"),
)


def evidence_html(evidence: Sequence[Evidence], colours: Mapping[str, int]) -> str:
    """The first piece of evidence open, the others to be opened."""
    marks = "".join(f'<span><svg viewBox="0 0 14 18" aria-hidden="true">{m}</svg>{name}</span>' for m, name in _KEY)
    first, *others = evidence
    parts = [f'<p class="key">{marks}</p>', _one(first, colours)]
    for piece in others:
        title = f'{badge(piece.threat, colours)} <span class="party">{shown(piece.parties)}</span>'
        parts.append(f"<details><summary>{title}</summary>{_one(piece, colours)}</details>")
    return "".join(parts)


def _one(evidence: Evidence, colours: Mapping[str, int]) -> str:
    when = f" at {evidence.first_time:%H:%M:%S}" if evidence.first_time else ""
    head = [
        ("feature", "feature"),
        ("this flow", "number"),
        ("nearest shots", "number near"),
        ("nearest benign", "number near"),
        (f"among {evidence.reference_rows:,} benign flows", "strip"),
    ]
    rows = [
        (
            f"<b>{shown(feature.name)}</b><small>{shown(feature.meaning)}</small>",
            f"<b>{_value(feature, feature.value)}</b>",
            _values(feature, feature.shots),
            _values(feature, feature.benign),
            f"{place_strip(feature)}<small>{shown(_how_far(feature))}</small>",
        )
        for feature in evidence.features
    ]
    caption = f"Loudest features of a flow named {evidence.threat}; {evidence.shots_in_all} shots were taught"
    parties = f'<span class="party">{shown(evidence.parties)}</span>'
    return (
        f'<div class="evidence"><p>{badge(evidence.threat, colours)} {parties}{when}'
        f"<br><small>{shown(evidence.description)}</small></p>{facts(evidence.flow, 'inline')}"
        f"{table(caption, head, rows, kind='features cards')}</div>"
    )


def _how_far(feature: Feature) -> str:
    """The reason without the feature's name and value, which stand beside it."""
    return split_reason(feature.text)[1] or feature.text


def _value(feature: Feature, value: float) -> str:
    if feature.unit == YES_OR_NO:
        return "none" if value != value else "yes" if value else "no"
    told = number(value)
    return f"{told} <small>{shown(feature.unit)}</small>" if feature.unit not in ("", "1") and value == value else told


def _values(feature: Feature, values: Sequence[float]) -> str:
    bare = [_value(feature, value).split(" <small>")[0] for value in values]
    if len(set(bare)) == 1 and len(bare) > 1:
        return f"{bare[0]} <small>all {len(bare)}</small>"
    return ", ".join(bare)
