"""A report as one HTML file that loads nothing: styles, pictures and script are in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources

from kshot.report.charts import place_strip, score_strips, share_bar, timeline
from kshot.report.contents import Evidence, Feature, Report, Tally
from kshot.report.markup import number, percent, shown, table

COLOURS = 8
"""Colours in page.css; more threats than that take turns."""
_MOST_ALERTS = 500


def render_page(report: Report) -> str:
    """Return the whole page; every text in it that came from an input is escaped."""
    folder = resources.files("kshot.report")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # Only our own script may run, told by its hash: were a text ever to slip through unescaped, it could still do nothing.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    colours = _colours(report)
    body = "\n".join(part for part in _sections(report, colours) if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{shown(report.title)} - kshot</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{body}\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _colours(report: Report) -> dict[str, int]:
    """A colour for each threat, the one taught first."""
    names = [report.taught, *(tally.threat for tally in report.tallies), *report.alerts["threat"].to_list()]
    return {name: place % COLOURS for place, name in enumerate(dict.fromkeys(name for name in names if name))}


def _sections(report: Report, colours: dict[str, int]) -> Iterator[str]:
    yield _header(report)
    yield "<main>"
    yield _headline(report, colours)
    if len(report.moments):
        yield _section(
            "timeline",
            "When it happened",
            timeline(report.moments, report.lanes, colours),
            "Bars upwards are flows that alarmed, bars downwards attack flows that did not. The shaded stretch is an alert."
            if report.tallies
            else "Each bar counts the flows that alarmed; the shaded stretch is an alert.",
        )
    yield _alerts(report, colours)
    yield from _evidence(report, colours)
    if report.scores is not None:
        yield _section(
            "scores",
            "The scores of all flows",
            score_strips(report.scores, colours),
            "How surprising each record is as any of the threats: to the right of the dashed line it alarms. "
            "The height of a bar grows with the logarithm of the count, so that a single record shows.",
        )
    if report.tallies:
        yield _section("truth", "Against the truth", _truth(report.tallies, colours))
    yield "</main>"
    notes = "".join(f"<li>{shown(note)}</li>" for note in report.notes)
    yield f"<footer>{f'<ul>{notes}</ul>' if notes else ''}<p>{shown(report.made_by)}</p></footer>"


def _section(name: str, title: str, content: str, about: str = "") -> str:
    told = f"<p class='about'>{shown(about)}</p>" if about else ""
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{shown(title)}</h2>{told}{content}</section>'


def _header(report: Report) -> str:
    links = [("timeline", "Timeline", len(report.moments)), ("alerts", "Alerts", 1), ("evidence", "Evidence", len(report.evidence)),
             ("scores", "Scores", report.scores is not None), ("truth", "Truth", len(report.tallies))]  # fmt: skip
    menu = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, there in links if there)
    return (
        '<header><div class="top"><a class="brand" href="#top" id="top">k<b>shot</b></a>'
        f'<nav aria-label="Sections"><ul>{menu}</ul></nav></div>'
        f"<h1>{shown(report.title)}</h1><p class='lead'>{shown(report.lead)}</p></header>"
    )


def _headline(report: Report, colours: dict[str, int]) -> str:
    cards = []
    taught = next((tally for tally in report.tallies if tally.threat == report.taught and report.taught), None)
    if taught is not None and taught.share_before is not None:
        css = f"c{colours[taught.threat]}"
        cards.append(
            f'<div class="card big {css}"><p class="what"><i class="dot"></i>{shown(taught.threat)} found</p>'
            f'<p class="change"><span class="before"><small>before</small>{percent(taught.share_before)}</span>'
            f'<span class="arrow" aria-label="to">→</span><span class="after"><small>after</small>{percent(taught.share)}</span></p>'
            f'<p class="detail">{taught.alarmed_before:,} of {taught.flows:,} flows, then {taught.alarmed:,} of {taught.flows:,}</p></div>'
        )
    benign = next((tally for tally in report.tallies if not tally.threat), None)
    if benign is not None:
        before = f"{percent(benign.share_before)} before; " if benign.share_before is not None else ""
        cards.append(
            f'<div class="card big"><p class="what">false alarms</p><p class="change"><span class="after">'
            f"{percent(benign.share)}</span></p>"
            f'<p class="detail">{before}{benign.alarmed:,} of {benign.flows:,} benign flows now</p></div>'
        )
    facts = "".join(f"<div><dt>{shown(what)}</dt><dd>{shown(value)}</dd></div>" for what, value in report.facts)
    return (
        f'<section class="headline" aria-label="In short">{"".join(cards)}<dl class="card facts">{facts}</dl></section>'
    )


def _alerts(report: Report, colours: dict[str, int]) -> str:
    title = "The top of the ranking" if report.ranked else "Alerts"
    if not report.alerts.height:
        return _section("alerts", title, "<p>Nothing alarmed.</p>")
    head = [("threat", ""), ("originator → responder", ""), ("first seen", ""), ("lasted", "number"), ("flows", "number"),
            ("p-value", "number"), ("score", "number"), ("ATT&CK", ""), ("why", "why")]  # fmt: skip
    rows = []
    for alert in report.alerts.head(_MOST_ALERTS).iter_rows(named=True):
        first, last = alert["first_time"], alert["last_time"]
        seconds = (last - first).total_seconds() if first and last else None
        reasons = "".join(f"<li>{shown(reason)}</li>" for reason in alert["reasons"])
        rows.append(
            (
                _badge(alert["threat"], colours),
                f'<span class="party">{shown(alert["originator"] or "?")}</span> → <span class="party">{shown(alert["responder"] or "?")}</span>',
                f'<span data-sort="{first.timestamp()}">{first:%H:%M:%S}</span>' if first else "",
                f'<span data-sort="{seconds}">{_lasted(seconds)}</span>' if seconds is not None else "",
                f'<span data-sort="{alert["flows"]}">{alert["flows"]:,}</span>',
                f'<span data-sort="{alert["p_value"]}">{alert["p_value"]:.2g}</span>'
                if alert["p_value"] is not None
                else "none",
                f'<span data-sort="{alert["score"]}">{number(alert["score"])}</span>',
                " ".join(f"<code>{shown(technique)}</code>" for technique in alert["attack"]),
                f"<ul>{reasons}</ul>",
            )
        )
    more = report.alerts.height - len(rows)
    about = f"The loudest {len(rows):,}; {more:,} more are left out here." if more > 0 else ""
    tools = (
        '<p class="tools" hidden><label>Show only <input type="search" placeholder="threat, address, feature" '
        'aria-controls="alert-table"></label> <output aria-live="polite"></output></p>'
    )
    content = f'{tools}<div id="alert-table">{table(f"{title}, the loudest first", head, rows, kind="alerts cards sortable")}</div>'
    return _section("alerts", title, content, about)


def _badge(threat: str, colours: dict[str, int]) -> str:
    css = f"c{colours[threat]}" if threat in colours else "plain"
    return f'<span class="badge {css}"><i class="dot"></i>{shown(threat)}</span>'


def _lasted(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _evidence(report: Report, colours: dict[str, int]) -> Iterator[str]:
    if not report.evidence:
        return
    first, *others = report.evidence
    key = (
        '<p class="key"><span><svg viewBox="0 0 14 18" aria-hidden="true"><path class="mine" d="M7 1l6 8-6 8-6-8z"/></svg>this flow</span>'
        '<span><svg viewBox="0 0 14 18" aria-hidden="true"><circle class="near-shot" cx="7" cy="9" r="4.5"/></svg>nearest shots</span>'
        '<span><svg viewBox="0 0 14 18" aria-hidden="true"><circle class="near-benign" cx="7" cy="9" r="4.5"/></svg>nearest benign flows</span></p>'
    )
    about = (
        "The loudest flow of an alert, feature by feature: its value, those of the shots most like it, and those of the benign "
        "flows most like it. The strip shows where these lie among the benign flows of this network, by rank."
    )
    content = key + _one_evidence(first, colours)
    for evidence in others:
        title = f"{_badge(evidence.threat, colours)} <span class='party'>{shown(evidence.parties)}</span>"
        content += f"<details><summary>{title}</summary>{_one_evidence(evidence, colours)}</details>"
    yield _section("evidence", "What stands behind an alert", content, about)


def _one_evidence(evidence: Evidence, colours: dict[str, int]) -> str:
    when = f" at {evidence.first_time:%H:%M:%S}" if evidence.first_time else ""
    facts = "".join(f"<div><dt>{shown(what)}</dt><dd>{shown(value)}</dd></div>" for what, value in evidence.flow)
    head = [("feature", "feature"), ("this flow", "number"), ("nearest shots", "number near"), ("nearest benign", "number near"),
            (f"among {evidence.reference_rows:,} benign flows", "strip")]  # fmt: skip
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
    return (
        f'<div class="evidence"><p>{_badge(evidence.threat, colours)} <span class="party">{shown(evidence.parties)}</span>{when}'
        f"<br><small>{shown(evidence.description)}</small></p><dl class='inline'>{facts}</dl>"
        f"{table(caption, head, rows, kind='features cards')}</div>"
    )


def _how_far(feature: Feature) -> str:
    """The reason without the feature's name and value, which stand beside it."""
    _, colon, rest = feature.text.partition(": ")
    return rest if colon else feature.text


def _value(feature: Feature, value: float) -> str:
    if feature.unit == "yes or no":
        return "none" if value != value else "yes" if value else "no"
    told = number(value)
    unit = feature.unit if feature.unit not in ("", "1") and value == value else ""
    return f"{told} <small>{shown(unit)}</small>" if unit else told


def _values(feature: Feature, values: Sequence[float]) -> str:
    bare = [_value(feature, value).split(" <small>")[0] for value in values]
    if len(set(bare)) == 1 and len(bare) > 1:
        return f"{bare[0]} <small>all {len(bare)}</small>"
    return ", ".join(bare)


def _truth(tallies: Sequence[Tally], colours: dict[str, int]) -> str:
    before = any(tally.alarmed_before is not None for tally in tallies)
    head = [("what", ""), ("made by", ""), ("flows", "number"), *([("found before", "number")] if before else []),
            ("found", "number"), ("under its name", "number"), ("", "barcell")]  # fmt: skip
    rows = []
    for tally in tallies:
        css = f"c{colours[tally.threat]}" if tally.threat in colours else "plain"
        bars = share_bar(tally.share, css)
        if tally.share_before is not None:
            bars = share_bar(tally.share_before, "was") + bars
        was = (
            [f"{tally.alarmed_before:,} <small>{percent(tally.share_before)}</small>"]
            if tally.share_before is not None
            else []
        )
        rows.append(
            (
                _badge(tally.threat, colours) if tally.threat else "<b>benign</b> <small>(false alarms)</small>",
                shown(", ".join(tally.tools)) if tally.tools else "users and machines",
                f"{tally.flows:,}",
                *(was or ([""] if before else [])),
                f"{tally.alarmed:,} <small>{percent(tally.share)}</small>",
                f"{tally.named:,}" if tally.threat else "",
                bars,
            )
        )
    return table("Flows of each threat, and how many alarmed", head, rows, kind="truth cards")
