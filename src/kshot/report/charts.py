"""Pictures as inline SVG: lanes of time, strips of scores, a value among the reference's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from kshot.report.contents import Feature, Lane, Scores
from kshot.report.markup import percent, shown, tone

_WIDE = 1_000
_BINS = 200
_NORMAL = NormalDist()
_FURTHEST = 3.3
"""Normal quantile at the edges of a feature's strip: 1 in 2,000."""
_FAR = 30.0
"""Scores beyond are drawn there: one strange record must not press all others into a corner."""
_POWERS = (0, 1, 2, 3, 4, 6, 8, 10, 12)
_ODDS = {0: "any", 1: "1 in 10", 2: "1 in 100", 3: "1 in 1,000", 4: "1 in 10⁴"}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
"""A score is -ln of the share of benign records that score as high; ticks are such shares."""
_TICKS = ((1, "1 %"), (10, "10 %"), (50, "half"), (90, "90 %"), (99, "99 %"))


def timeline(moments: NDArray[np.int64], lanes: Sequence[Lane], colours: Mapping[str, int]) -> str:
    """All flows by time, and a lane for each threat: found upwards, missed downwards."""
    low, high = int(moments.min()), int(moments.max())
    edges = np.linspace(low, max(high, low + 1), _BINS + 1)
    rows = [
        _lane("all flows", f"{len(moments):,}", _bars(np.histogram(moments, edges)[0], 46, 46, "all", edges), 46, ""),
    ]
    for lane in lanes:
        css = tone(lane.threat, colours)
        found, missed = (np.histogram(part, edges)[0] for part in (lane.found, lane.missed))
        shapes = "".join(_span(first, last, edges) for first, last in lane.spans)
        shapes += _bars(found, 24, 24, "found", edges) + _bars(missed, -16, 26, "missed", edges)
        told = f"{len(lane.found):,}{' found' if lane.threat else ''}" + (
            f", {len(lane.missed):,} missed" if len(lane.missed) else ""
        )
        rows.append(_lane(lane.name, told, shapes, 42, css))
    ticks = [datetime.fromtimestamp((low + (high - low) * i / 4) / 1e9, UTC) for i in range(5)]
    axis = "".join(f"<span>{tick:%H:%M:%S}</span>" for tick in ticks)
    day = f"{ticks[0]:%Y-%m-%d}"
    foot = f'<div class="lane axis"><div class="who">{day}, UTC</div><div class="ticks">{axis}</div></div>'
    return f'<div class="lanes">{"".join(rows)}{foot}</div>'


def _lane(name: str, told: str, shapes: str, height: int, css: str) -> str:
    return (
        f'<div class="lane {css}"><div class="who"><b>{shown(name)}</b><small>{told}</small></div>'
        f'<svg viewBox="0 0 {_WIDE} {height}" preserveAspectRatio="none" style="height:{height}px" role="img" '
        f'aria-label="{shown(name)}: {told}">{shapes}</svg></div>'
    )


def _bars(counts: NDArray[np.int64], height: int, base: int, css: str, edges: NDArray[np.float64]) -> str:
    """Bars upwards from `base`, or downwards where `height` is negative; by square root, so that one flow shows."""
    most = counts.max(initial=1)
    wide = _WIDE / len(counts)
    parts = []
    for place in np.flatnonzero(counts):
        tall = max(3.0, abs(height) * float(np.sqrt(counts[place] / most)))
        top = base - tall if height > 0 else base
        when = datetime.fromtimestamp(edges[place] / 1e9, UTC)
        parts.append(
            f'<rect class="{css}" x="{place * wide:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
            f"<title>{when:%H:%M:%S}: {counts[place]:,}</title></rect>"
        )
    return "".join(parts)


def _span(first: int, last: int, edges: NDArray[np.float64]) -> str:
    """The stretch of one alert, behind its flows."""
    length = edges[-1] - edges[0]
    begin, end = (_WIDE * (moment - edges[0]) / length for moment in (first, last))
    begin = max(0.0, min(begin, _WIDE - 5.0))
    return f'<rect class="span" x="{begin:.1f}" y="0" width="{max(5.0, min(end, _WIDE) - begin):.1f}" height="24"/>'


def score_strips(scores: Scores, colours: Mapping[str, int]) -> str:
    """A strip for each group: how many records have which score; the threshold runs through all."""
    far = min(max(float(scores.values.max(initial=0.0)), 8.0) * 1.01, _FAR)
    values = np.clip(scores.values, 0.0, far)
    edges = np.linspace(0.0, far, 121)
    strips = []
    for name, chosen in scores.groups.items():
        counts = np.histogram(values[chosen], edges)[0]
        css = tone(name, colours)
        most = np.log1p(counts.max(initial=1))
        wide = _WIDE / len(counts)
        parts = []
        for place in np.flatnonzero(counts):
            tall = max(3.0, 34.0 * float(np.log1p(counts[place]) / most))
            begin, end = edges[place : place + 2]
            box = f'x="{place * wide:.1f}" y="{34 - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}"'
            parts.append(
                f'<rect class="found" {box}><title>score {begin:.1f} to {end:.1f}: {counts[place]:,}</title></rect>'
            )
        strips.append(_lane(name, f"{int(chosen.sum()):,}", "".join(parts), 34, css))
    line = ""
    if scores.threshold is not None:
        at = 100.0 * min(max(scores.threshold, 0.0) / far, 1.0)
        line = f'<div class="over"><i style="left:{at:.2f}%"><em>alarm</em></i></div>'
    ticks = []
    for power in _POWERS:
        at = power * float(np.log(10.0)) / far
        if at < 0.97:
            label = _ODDS.get(power) or f"10⁻{str(power).translate(_RAISED)}"
            ticks.append(f'<span class="t{power}" style="left:{100.0 * at:.2f}%">{label}</span>')
    marks = f'<div class="marks">{"".join(ticks)}</div>'
    axis = f'<div class="lane axis"><div class="who">as loud, of benign</div>{marks}</div>'
    return f'<div class="lanes strips">{line}{"".join(strips)}{axis}</div>'


def place_strip(feature: Feature) -> str:
    """Where the record, its nearest shots and its nearest benign records lie among the reference, by rank."""

    def at(percentile: float) -> float:
        share = min(max(percentile / 100.0, 1e-9), 1.0 - 1e-9)
        return 150.0 * (1.0 + max(-1.0, min(1.0, _NORMAL.inv_cdf(share) / _FURTHEST)))

    def marks(percentiles: Sequence[float], row: int, css: str, radius: float) -> str:
        return "".join(
            f'<circle class="{css}" cx="{at(p):.1f}" cy="{row}" r="{radius}"/>' for p in percentiles if p == p
        )

    grid = "".join(f'<line class="grid" x1="{at(p):.1f}" x2="{at(p):.1f}" y1="4" y2="36"/>' for p, _ in _TICKS)
    labels = "".join(f'<text x="{at(p):.1f}" y="49">{label}</text>' for p, label in _TICKS)
    mine = ""
    if feature.percentile == feature.percentile:
        x = at(feature.percentile)
        mine = f'<path class="mine" d="M{x:.1f} 1l6 8-6 8-6-8z"/>'
    told = "missing" if feature.percentile != feature.percentile else percent(feature.percentile / 100.0)
    return (
        f'<svg class="place" viewBox="-12 0 324 52" role="img" aria-label="above {told} of the benign records">'
        f'<line class="base" x1="0" x2="300" y1="20" y2="20"/>{grid}{labels}'
        f"{marks(feature.benign_percentiles, 30, 'near-benign', 4.5)}"
        f"{marks(feature.shot_percentiles, 20, 'near-shot', 4.5)}{mine}</svg>"
    )
