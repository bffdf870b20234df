"""Pictures: well-formed, every learner in them, every text escaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from kshot.bench.charts import curves, heat_map, legend, promises, tone_of

ORDER = {"kshot": 0, "<b>": 1} | {f"learner-{i}": i for i in range(2, 20)}


def test_curves_put_points_where_they_belong() -> None:
    lines = {"kshot": [(0.0, 0.0), (1.0, 0.5), (2.0, 1.0)], "<b>": [(1.0, 0.25)]}
    html = curves("iid", lines, ORDER, "shots", "R@1%", [0, 1, 2], by_log=True)
    root = ElementTree.fromstring(html)
    spots = [spot for spot in root.iter("circle") if "c0" in spot.get("class", "")]
    xs = [float(spot.get("cx", "nan")) for spot in spots]
    ys = [float(spot.get("cy", "nan")) for spot in spots]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.11), "none to one is as far as one to two"
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2]) and ys[0] > ys[2]
    assert "<b>: 0.250 at 1" in [title.text for title in root.iter("title")]


def test_twenty_learners_have_twenty_lines() -> None:
    assert len({tone_of(name, ORDER) for name in ORDER}) == 20
    assert len(list(ElementTree.fromstring(legend(ORDER)))) == 20


def test_promises_beyond_the_picture_stay_in_it() -> None:
    root = ElementTree.fromstring(promises("iid", {"kshot": 1.0, "<b>": 1e9, "learner-2": 0.0}, ORDER))
    xs = [float(spot.get("cx", "nan")) for spot in root.iter("circle")]
    (band,) = (shape for shape in root.iter("rect") if shape.get("class") == "kept")
    left, wide = float(band.get("x", "nan")), float(band.get("width", "nan"))
    assert left < xs[0] < left + wide and xs[2] < left and left + wide < xs[1] < 490


def test_a_heat_map_says_its_numbers() -> None:
    html = heat_map("iid", ["kshot", "<b>"], [("<t>", [0.25, None]), ("u", [1.0, 0.0])])
    assert "<t>" not in html and "<b>" not in html
    assert re.findall(r">(\d\.\d\d|-)<", html) == ["0.25", "-", "1.00", "0.00"]
