"""The report of a benchmark: one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from kshot import __version__
from kshot.bench.charts import STYLE, curves, heat_map, legend, promises
from kshot.bench.ranks import table_means
from kshot.bench.summary import MAIN_METRIC, TITLES, Section, comparable, nested_means
from kshot.report.markup import shown, table
from kshot.report.page import section, whole_page

_PROMISE = "delivered_over_promised_at_"
_SHOTS = (
    "How much of a new attack is found at 1 % false positives after so many examples of it. Means over families, "
    "tables, corpora. A learner that sees no shot is flat: what it finds, few-shot learning did not add."
)
_PRECISION = "Of what alarms, how much is an attack, where ten benign records come on each attack record."
_CALIBRATION = (
    "Benign records that alarmed, over those that were promised to: 1 is a promise kept, the band is 0.8 to 1.25. "
    "Learners without a promise of their own have half of the reference held back for one."
)
_HEAT = "Recall at 1 % false positives, mean over the families of a table."


def render_bench(
    results: pl.DataFrame, measures: pl.DataFrame, precision: pl.DataFrame, sections: Sequence[Section], lead: str
) -> str:
    """Return the whole page.

    Args:
        results: as in results.parquet.
        measures: as in measures.parquet.
        precision: as in curves.parquet.
        sections: the summary's tables.
        lead: one line on what was run.
    """
    parts = [*_pictures(results, measures, precision)]
    names = [name for name, _ in parts]
    told = "".join(_table(item) for item in sections)
    menu = "".join(f'<li><a href="#{name}">{name.capitalize()}</a></li>' for name in [*names, "tables"])
    head = (
        '<header><div class="top"><a class="brand" href="#top" id="top">k<b>shot</b></a>'
        f'<nav aria-label="Sections"><ul>{menu}</ul></nav></div>'
        f'<h1>Learners compared</h1><p class="lead">{shown(lead)}</p></header>'
    )
    body = "".join(html for _, html in parts) + section("tables", "In figures", told)
    foot = f"<footer><p>kshot {shown(__version__)}, kshot bench</p></footer>"
    return whole_page("Learners compared", f"{head}<main>{body}</main>{foot}", STYLE)


def _pictures(results: pl.DataFrame, measures: pl.DataFrame, precision: pl.DataFrame) -> Iterator[tuple[str, str]]:
    plain = results.filter(~pl.col("data").str.contains(" -> ", literal=True))
    names = sorted({*results["learner"].to_list(), *measures["learner"].to_list()}, key=lambda n: (n != "kshot", n))
    order = {name: place for place, name in enumerate(names)}
    if len(plain):
        whole = comparable(plain)
        yield "shots", section("shots", "Shots against recall", legend(order) + _shots(whole, order), _SHOTS)
        if len(precision):
            html = legend(order) + _precision(precision, order)
            yield "precision", section("precision", "Precision against recall", html, _PRECISION)
    promised = measures.filter(pl.col("measure").str.starts_with(_PROMISE))
    if len(promised):
        yield "calibration", section("calibration", "Promises kept", _promises(promised, order), _CALIBRATION)
    if len(plain):
        yield "heat", section("heat", "Table by table", _heat(comparable(plain)), _HEAT)


def _shots(whole: pl.DataFrame, order: dict[str, int]) -> str:
    means = nested_means(whole, [MAIN_METRIC], ["split", "k", "learner"]).sort("split", "learner", "k")
    plots = []
    for (split,), part in means.group_by("split", maintain_order=True):
        ticks = part["k"].unique().sort().to_list()
        lines = {
            str(name): [(float(k), value) for k, value in mine.select("k", MAIN_METRIC).iter_rows()]
            for (name,), mine in part.group_by("learner", maintain_order=True)
        }
        plots.append(curves(f"{split!s}", lines, order, "shots", TITLES[MAIN_METRIC], ticks, by_log=True))
    return f'<div class="plots">{"".join(plots)}</div>'


def _precision(precision: pl.DataFrame, order: dict[str, int]) -> str:
    means = nested_means(precision, ["precision"], ["split", "k", "learner", "recall"])
    plots = []
    for (split, k), part in means.sort("split", "k").group_by("split", "k", maintain_order=True):
        lines = {
            str(name): [*mine.sort("recall").select("recall", "precision").iter_rows()]
            for (name,), mine in part.sort("learner").group_by("learner", maintain_order=True)
        }
        ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
        plots.append(curves(f"{split!s}, K = {k!s}", lines, order, "recall", "precision at 1:10", ticks))
    return f'<div class="plots">{"".join(plots)}</div>'


def _promises(promised: pl.DataFrame, order: dict[str, int]) -> str:
    means = nested_means(promised, ["value"], ["split", "measure", "learner"]).sort("split", "measure", "learner")
    plots = []
    for (split, measure), part in means.group_by("split", "measure", maintain_order=True):
        rate = str(measure).removeprefix(_PROMISE)
        ratios = dict(part.select("learner", "value").iter_rows())
        plots.append(promises(f"{split!s}, promised {rate}", ratios, order))
    return f'<div class="plots">{"".join(plots)}</div>'


def _heat(whole: pl.DataFrame) -> str:
    parts = []
    for (split, k), part in whole.sort("split", "k").group_by("split", "k", maintain_order=True):
        wide = table_means(part, MAIN_METRIC)
        rows = [(row[0], row[1:]) for row in wide.iter_rows()]
        parts.append(heat_map(f"{split!s}, K = {k!s}", wide.columns[1:], rows))
    return "".join(parts)


def _table(told: Section) -> str:
    head = [(title, "" if place == 0 else "number") for place, title in enumerate(told.head)]
    rows = [[shown(cell) for cell in row] for row in told.rows]
    about = f'<p class="about">{shown(told.about)}</p>' if told.about else ""
    title = f"<h3>{shown(told.title)}</h3>"
    return f'{title}{about}<div class="wide">{table(told.title, head, rows, kind="sums")}</div>'
