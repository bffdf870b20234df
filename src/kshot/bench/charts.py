"""Pictures of a benchmark as inline SVG: curves, rates against their promise, a heat map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kshot.report.markup import shown, table

_TONES, _DASHES = 8, 3
_LEFT, _TOP, _WIDE, _HIGH = 46.0, 12.0, 430.0, 250.0
Points = Sequence[tuple[float, float]]

STYLE = """
.plots { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); }
.plot { max-width: 38rem; }
.plot h3 { font-size: .95rem; margin: 0 0 .2rem; font-weight: 600; } .plot svg { width: 100%; display: block; }
.plot text { font-size: 12px; fill: var(--soft); } .plot .mid { text-anchor: middle; } .plot .end { text-anchor: end; }
.plot .grid { stroke: var(--line); stroke-width: 1; } .plot .edge { stroke: var(--soft); stroke-width: 1; }
.plot .kept { fill: var(--good); opacity: .13; }
.curve { fill: none; stroke: var(--tone); stroke-width: 2.2; stroke-linejoin: round; } .spot { fill: var(--tone); }
.first { stroke-width: 3.6; }
.d1 { stroke-dasharray: 7 4; } .d2 { stroke-dasharray: 2 4; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.2rem; margin: 0 0 .9rem; padding: 0; font-size: .9rem; }
.legend li { list-style: none; }
.legend svg { width: 30px; height: 10px; margin-right: .4rem; vertical-align: 1px; }
.wide { overflow-x: auto; } .heat { width: auto; } .heat th, .heat td { padding: .35rem .6rem; border: 0; }
.heat td { padding: 1px; } .heat span { display: block; padding: .35rem .6rem; }
.heat span { background: color-mix(in srgb, var(--accent) calc(var(--v) * 1%), var(--card)); }
.heat .deep { color: var(--card); }
h3 { font-size: .98rem; margin: 1.2rem 0 .3rem; } .sums th, .sums td { white-space: nowrap; }
"""
"""What the page's own style lacks."""


def tone_of(name: str, order: Mapping[str, int]) -> str:
    """The colour and dash of a learner: the same in every picture."""
    place = order[name]
    return f"c{place % _TONES} d{place // _TONES % _DASHES}" + ("" if place else " first")


def legend(order: Mapping[str, int]) -> str:
    """Which line is whose."""
    keys = "".join(
        f'<li><svg viewBox="0 0 30 10" aria-hidden="true"><path class="curve {tone_of(name, order)}" d="M0 5H30"/>'
        f"</svg>{shown(name)}</li>"
        for name in order
    )
    return f'<ul class="legend">{keys}</ul>'


def curves(
    title: str,
    lines: Mapping[str, Points],
    order: Mapping[str, int],
    x_title: str,
    y_title: str,
    x_ticks: Sequence[float],
    *,
    by_log: bool = False,
) -> str:
    """Lines of y in 0..1 over x; `by_log` where x is a count."""

    def scaled(value: float) -> float:
        # No shot at all stands as far left of one as two stand right of it.
        return value if not by_log else math.log(value) if value > 0.0 else -math.log(2.0)

    low, high = scaled(x_ticks[0]), scaled(x_ticks[-1])
    span = (high - low) or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + _WIDE * (scaled(x) - low) / span, _TOP + _HIGH * (1.0 - y)

    drawn = []
    for name, points in lines.items():
        css = tone_of(name, order)
        places = [at(x, y) for x, y in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        spots = "".join(
            f'<circle class="spot {css}" cx="{px:.1f}" cy="{py:.1f}" r="3.4">'
            f"<title>{shown(name)}: {y:.3f} at {x:g}</title></circle>"
            for (px, py), (x, y) in zip(places, points, strict=True)
            if by_log
        )
        drawn.append(f'<path class="curve {css}" d="{path}"><title>{shown(name)}</title></path>{spots}')
    body = _frame([(at(x, 0.0)[0], f"{x:g}") for x in x_ticks], x_title, y_title) + "".join(drawn)
    return _plot(title, body, f"{y_title} by {x_title} of {len(lines)} learners")


def _frame(x_ticks: Sequence[tuple[float, str]], x_title: str, y_title: str) -> str:
    bottom = _TOP + _HIGH
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - _HIGH * share
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _WIDE}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 7}" y="{y + 4:.1f}">{share:g}</text>')
    for x, label in x_ticks:
        parts.append(f'<text class="mid" x="{x:.1f}" y="{bottom + 18}">{label}</text>')
    parts.append(f'<line class="edge" x1="{_LEFT}" x2="{_LEFT + _WIDE}" y1="{bottom}" y2="{bottom}"/>')
    parts.append(f'<text class="mid" x="{_LEFT + _WIDE / 2}" y="{bottom + 36}">{shown(x_title)}</text>')
    middle = _TOP + _HIGH / 2
    parts.append(f'<text class="mid" transform="translate(12 {middle}) rotate(-90)">{shown(y_title)}</text>')
    return "".join(parts)


def _plot(title: str, body: str, told: str, high: float = _TOP + _HIGH + 44) -> str:
    return (
        f'<div class="plot"><h3>{shown(title)}</h3><svg viewBox="0 0 {_LEFT + _WIDE + 14} {high}" role="img" '
        f'aria-label="{shown(title)}: {shown(told)}">{body}</svg></div>'
    )


_LEAST_RATIO, _MOST_RATIO = 0.1, 10.0
_KEPT = (0.8, 1.25)
_ROW = 26.0


def promises(title: str, ratios: Mapping[str, float], order: Mapping[str, int]) -> str:
    """A dot for each learner: false alarms delivered over those promised; the band is what counts as kept."""

    def at(ratio: float) -> float:
        inside = min(max(ratio, _LEAST_RATIO), _MOST_RATIO)
        share = math.log(inside / _LEAST_RATIO) / math.log(_MOST_RATIO / _LEAST_RATIO)
        return 130.0 + (_LEFT + _WIDE - 136.0) * share

    bottom = _TOP + _ROW * len(ratios)
    kept, wide = at(_KEPT[0]), at(_KEPT[1]) - at(_KEPT[0])
    parts = [f'<rect class="kept" x="{kept:.1f}" y="{_TOP}" width="{wide:.1f}" height="{bottom - _TOP}"/>']
    for ratio in (0.1, 0.3, 1.0, 3.0, 10.0):
        parts.append(f'<line class="grid" x1="{at(ratio):.1f}" x2="{at(ratio):.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="mid" x="{at(ratio):.1f}" y="{bottom + 17}">{ratio:g}</text>')
    for row, (name, ratio) in enumerate(ratios.items()):
        y = _TOP + _ROW * (row + 0.5)
        parts.append(f'<text class="end" x="118" y="{y + 4}">{shown(name)}</text>')
        parts.append(
            f'<circle class="spot {tone_of(name, order)}" cx="{at(ratio):.1f}" cy="{y}" r="5">'
            f"<title>{shown(name)}: {ratio:.2f}</title></circle>"
        )
    return _plot(title, "".join(parts), "delivered over promised", bottom + 26)


def heat_map(title: str, learners: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """Tables by learners; the deeper a cell, the greater its share."""
    head = [("table", ""), *((name, "number") for name in learners)]
    lines = []
    for name, values in rows:
        lines.append([shown(name), *map(_heat, values)])
    plain = table(title, head, lines, kind="heat")
    return f'<h3>{shown(title)}</h3><div class="wide">{plain}</div>'


def _heat(value: float | None) -> str:
    if value is None:
        return "-"
    deep = "deep" if value > 0.55 else ""
    return f'<span class="{deep}" style="--v:{100.0 * value:.0f}">{value:.2f}</span>'
