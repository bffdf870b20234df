"""A report as one HTML file that loads nothing: styles, pictures and script are in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from importlib import resources

from kshot.report.behind import ABOUT, evidence_html
from kshot.report.charts import score_strips, timeline
from kshot.report.contents import Report, Tally
from kshot.report.markup import facts, percent, shown, tone
from kshot.report.tables import MOST_ALERTS, alerts_html, truth_html

COLOURS = 8
"""Colours in page.css; more threats than that take turns."""
_WITH_TRUTH = (
    "Bars upwards are flows that alarmed, bars downwards attack flows that did not. The shaded stretch is an alert."
)
_WITHOUT_TRUTH = "Each bar counts the flows that alarmed; the shaded stretch is an alert."
_SCORES = (
    "How surprising each record is as any of the threats: to the right of the dashed line it alarms. "
    "The scale tells how few benign records are as loud for one threat; what is promised counts all threats together. "
    "The height of a bar grows with the logarithm of the count, so that a single record shows."
)


def render_page(report: Report) -> str:
    """Return the whole page; every text in it that came from an input is escaped."""
    return whole_page(report.title, "\n".join(_sections(report, _colours(report))))


def whole_page(title: str, body: str, more_style: str = "") -> str:
    """Put a body of safe HTML into a page that loads nothing and runs no script but ours."""
    folder = resources.files("kshot.report")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    # Only our own script may run, told by its hash: were a text ever to slip through unescaped, it could do nothing.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{shown(title)} - kshot</title>
<style>{style}{more_style}</style>
</head>
<body>
{body}
<script>{script}</script>
</body>
</html>
"""


def _colours(report: Report) -> dict[str, int]:
    """A colour for each threat, the one taught first."""
    names = [report.taught, *(tally.threat for tally in report.tallies), *report.alerts["threat"].to_list()]
    return {name: place % COLOURS for place, name in enumerate(dict.fromkeys(name for name in names if name))}


def _sections(report: Report, colours: Mapping[str, int]) -> Iterator[str]:
    yield _header(report)
    yield "<main>"
    yield _headline(report, colours)
    if len(report.moments):
        about = _WITH_TRUTH if report.tallies else _WITHOUT_TRUTH
        yield section("timeline", "When it happened", timeline(report.moments, report.lanes, colours), about)
    yield _alerts(report, colours)
    if report.evidence:
        yield section("evidence", "What stands behind an alert", evidence_html(report.evidence, colours), ABOUT)
    if report.scores is not None:
        yield section("scores", "The scores of all flows", score_strips(report.scores, colours), _SCORES)
    if report.tallies:
        yield section("truth", "Against the truth", truth_html(report.tallies, colours))
    yield "</main>"
    notes = "".join(f"<li>{shown(note)}</li>" for note in report.notes)
    yield f"<footer>{f'<ul>{notes}</ul>' if notes else ''}<p>{shown(report.made_by)}</p></footer>"


def section(name: str, title: str, content: str, about: str = "") -> str:
    """A titled part of a page; `content` is HTML."""
    told = f'<p class="about">{shown(about)}</p>' if about else ""
    heading = f'<h2 id="{name}-title">{shown(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{heading}{told}{content}</section>'


def _header(report: Report) -> str:
    there = {
        "timeline": len(report.moments) > 0,
        "alerts": True,
        "evidence": len(report.evidence) > 0,
        "scores": report.scores is not None,
        "truth": len(report.tallies) > 0,
    }
    menu = "".join(
        f'<li><a href="#{name}">{name.capitalize()}</a></li>' for name, is_there in there.items() if is_there
    )
    return (
        '<header><div class="top"><a class="brand" href="#top" id="top">k<b>shot</b></a>'
        f'<nav aria-label="Sections"><ul>{menu}</ul></nav></div>'
        f'<h1>{shown(report.title)}</h1><p class="lead">{shown(report.lead)}</p></header>'
    )


def _headline(report: Report, colours: Mapping[str, int]) -> str:
    cards = []
    for tally in report.tallies:
        if tally.threat == report.taught and tally.share_before is not None and tally.threat:
            cards.append(_taught_card(tally, colours))
        elif not tally.threat:
            before = f"{percent(tally.share_before)} before; " if tally.share_before is not None else ""
            told = f"{before}{tally.alarmed:,} of {tally.flows:,} benign flows now"
            share = f'<span class="after">{percent(tally.share)}</span>'
            cards.append(_card("False alarms", share, told, "plain"))
    small = facts(report.facts, "card facts")
    return f'<section class="headline" aria-label="In short">{"".join(cards)}{small}</section>'


def _taught_card(tally: Tally, colours: Mapping[str, int]) -> str:
    change = (
        f'<span class="before"><small>before</small>{percent(tally.share_before or 0.0)}</span>'
        '<span class="arrow" role="img" aria-label="to">→</span>'
        f'<span class="after"><small>after</small>{percent(tally.share)}</span>'
    )
    told = f"{tally.alarmed_before:,} of {tally.flows:,} flows, then {tally.alarmed:,} of {tally.flows:,}"
    return _card(f"{tally.threat} found", change, told, tone(tally.threat, colours))


def _card(what: str, change: str, told: str, css: str) -> str:
    dot = '<i class="dot"></i>' if css != "plain" else ""
    return (
        f'<div class="card big {css}"><p class="what">{dot}{shown(what)}</p>'
        f'<p class="change">{change}</p><p class="detail">{shown(told)}</p></div>'
    )


def _alerts(report: Report, colours: Mapping[str, int]) -> str:
    title = "The top of the ranking" if report.ranked else "Alerts"
    if not report.alerts.height:
        return section("alerts", title, "<p>Nothing alarmed.</p>")
    more = report.alerts.height - MOST_ALERTS
    about = f"The loudest {MOST_ALERTS:,}; {more:,} more are left out here." if more > 0 else ""
    return section("alerts", title, alerts_html(report.alerts, title, colours), about)
