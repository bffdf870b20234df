"""What a run found, as tables for people: means, intervals, ratios, ranks, worst families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from kshot.bench.bootstrap import Estimate, Paired
from kshot.bench.contestants import BLIND, PEERS
from kshot.bench.protocols import WITH_POOL, WITHOUT_POOL
from kshot.bench.ranks import Ranking, paired_p, rank_learners, table_means
from kshot.bench.results import METRICS

MAIN_METRIC = "recall_at_1pct"
TITLES = {"auroc": "AUROC", "average_precision": "AP", "recall_at_1pct": "R@1%", "recall_at_01pct": "R@0.1%"}
_EPISODE = ["data", "family", "seed"]
_WORST = 10
_FOUND = 0.9
_NONE = "-"
NOT_CONVERGED = " †"
"""The mark of a learner whose training ended before validation stopped getting better."""


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table of plain text."""

    name: str
    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    about: str = ""


def comparable(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the episodes that every learner (of a split and K) has."""
    key = ["split", "k", *_EPISODE]
    most = rows.group_by("split", "k").agg(pl.col("learner").n_unique().alias("wanted"))
    had = rows.group_by(key).agg(pl.col("learner").n_unique().alias("had")).join(most, on=["split", "k"])
    return rows.join(had.filter(pl.col("had") == pl.col("wanted")).select(key), on=key, how="semi")


def nested_means(rows: pl.DataFrame, values: Sequence[str], by: Sequence[str]) -> pl.DataFrame:
    """Return means over families, then tables of a corpus, then corpora, for each combination of `by`."""
    means = [pl.col(value).mean() for value in values]
    for level in (["corpus", "data", "family"], ["corpus", "data"], ["corpus"], []):
        rows = rows.group_by([*by, *level], maintain_order=True).agg(means)
    return rows


def sections_of(
    results: pl.DataFrame, measures: pl.DataFrame, protocols: Sequence[str], trainings: pl.DataFrame | None = None
) -> list[Section]:
    """Return everything that is told of a run, in the order of reading.

    Args:
        results: as in results.parquet.
        measures: as in measures.parquet.
        protocols: what was run.
        trainings: as in trainings.parquet; learners that did not converge bear a mark in every table.
    """
    out: list[Section] = []
    plain = results.filter(~pl.col("data").str.contains(" -> ", literal=True))
    if len(plain):
        whole = comparable(plain)
        for (split, k), part in whole.sort("split", "k").group_by("split", "k", maintain_order=True):
            drawn = plain.filter((pl.col("split") == split) & (pl.col("k") == k)).select(_EPISODE).n_unique()
            out += _headline(part, str(split), int(str(k)), drawn)
        out += _tables(whole)
        out += _worst(whole)
    if "shots-to-detect" in protocols:
        out += _shots_to_detect(plain)
    if "site-change" in protocols:
        out += _site_change(results)
    if "unlabelled-pool" in protocols:
        out += _with_pool(results)
    told = measures if "base-rates" in protocols else measures.filter(~pl.col("measure").is_in(_BASE_RATES))
    out += _measures(told)
    if trainings is None or not len(trainings):
        return out
    names = not_converged(trainings)
    return [*(_marked(section, names) for section in out), _trainings(trainings)]


def not_converged(trainings: pl.DataFrame) -> list[str]:
    """Return the learners with weights whose validation was still getting better when their training ended."""
    return trainings.filter(pl.col("converged").eq(False))["learner"].unique(maintain_order=True).to_list()


def _marked(section: Section, names: Sequence[str]) -> Section:
    """Put a mark behind the names of learners that did not converge."""
    marks = {name: name + NOT_CONVERGED for name in names}

    def marked(cells: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(marks.get(cell, cell) for cell in cells)

    return replace(section, head=marked(section.head), rows=[marked(row) for row in section.rows])


def _trainings(trainings: pl.DataFrame) -> Section:
    rows: list[tuple[str, ...]] = []
    for row in trainings.iter_rows(named=True):
        converged = {True: "yes", False: "no", None: _NONE}[row["converged"]]
        name = row["learner"] + (NOT_CONVERGED if row["converged"] is False else "")
        # The last folders tell trainings apart; the rest is where somebody keeps them.
        folder = "/".join(row["weights"].replace("\\", "/").split("/")[-2:])
        steps, minutes = _number(row["steps"], 0), _number(row["cpu_minutes"], 1)
        rows.append((name, folder, steps, minutes, converged, ", ".join(row["corpora"])))
    head = ("learner", "weights", "steps", "CPU minutes", "converged", "corpora seen")
    about = f"{NOT_CONVERGED.strip()} not converged: validation was still getting better when the training ended."
    return Section("trainings", "How the learners were trained", head, rows, about)


_BASE_RATES = ("precision_at_1_in_1000", "false_alerts_a_day")


def _headline(part: pl.DataFrame, split: str, k: int, drawn: int) -> Iterator[Section]:
    ranking = rank_learners(part, MAIN_METRIC)
    learners = ranking.learners
    pairs = {metric: Paired(part, metric, learners) for metric in METRICS}
    ranks = dict(zip(ranking.learners, ranking.ranks, strict=True))
    means = {
        row["learner"]: row for row in nested_means(part, ["adapt_seconds", "score_seconds"], ["learner"]).to_dicts()
    }
    rows = []
    for name in learners:
        cells = [_interval(pairs[metric], name) for metric in METRICS]
        seconds = [_number(means[name][what], 3) for what in ("adapt_seconds", "score_seconds")]
        rows.append((_labelled(name), *cells, f"{ranks[name]:.2f}", *seconds))
    count = part.select(_EPISODE).n_unique()
    families = part.select("data", "family").n_unique()
    common = f" (of {drawn}: those that every learner has)" if drawn > count else ""
    about = (
        f"{count} episodes{common}, {families} families of {part['data'].n_unique()} tables of "
        f"{part['corpus'].n_unique()} corpora. Means over families, tables, corpora; 95 % intervals by bootstrap. "
        f"{_told(ranking)}"
    )
    head = ("learner", *(TITLES[metric] for metric in METRICS), "rank", "adapt s", "score s")
    place = f"{split}-{k}".replace(" ", "-").replace(",", "").replace("%", "pct")
    yield Section(f"means-{place}", f"{split}, K = {k}", head, rows, about)
    peers = [peer for peer in learners if peer in PEERS]
    rivals = [name for name in learners if name not in PEERS and name not in BLIND]
    if peers and rivals:
        best = peers[0]  # learners are in the order of their ranks
        head = ("learner", *TITLES.values(), f"p against {best}")
        ratios = [
            (rival, *(_ratio(pairs[metric], rival, peers) for metric in METRICS), _p_value(part, rival, best))
            for rival in rivals
        ]
        about = (
            f"Peers: {', '.join(peers)}; the best of them in each resampling. An interval above 1 is a win. "
            f"p: Wilcoxon's signed ranks of {TITLES[MAIN_METRIC]} over tables, for one comparison."
        )
        yield Section(f"ratios-{place}", f"Over the best peer: {split}, K = {k}", head, ratios, about)


def _ratio(paired: Paired, rival: str, peers: Sequence[str]) -> str:
    return _estimate(paired.ratio(rival, peers)) if paired.n_episodes else _NONE


def _p_value(part: pl.DataFrame, rival: str, peer: str) -> str:
    p_value = paired_p(part, MAIN_METRIC, rival, peer)
    return _NONE if p_value != p_value else f"{p_value:.2g}"


def _told(ranking: Ranking) -> str:
    if ranking.n_tables < 2 or len(ranking.learners) < 2:
        return "Ranks need two tables and two learners."
    alike = ranking.as_good_as(0)
    best = ranking.learners[0]
    said = f"not told apart from {best}: {', '.join(alike)}" if alike else f"{best} is ahead of all by more than that"
    p_value = "" if ranking.p_value != ranking.p_value else f" (Friedman p = {ranking.p_value:.2g})"
    return (
        f"Ranks by {TITLES[MAIN_METRIC]} over {ranking.n_tables} tables{p_value}; they differ by chance up to "
        f"{ranking.critical_difference:.2f} (Nemenyi, 95 %); {said}."
    )


def _tables(whole: pl.DataFrame) -> Iterator[Section]:
    """R@1% of each table and learner, by split and K."""
    for (split, k), part in whole.sort("split", "k").group_by("split", "k", maintain_order=True):
        wide = table_means(part, MAIN_METRIC)
        learners = wide.columns[1:]
        rows = [(row[0], *(_number(value, 3) for value in row[1:])) for row in wide.iter_rows()]
        yield Section(
            f"tables-{split!s}-{k!s}", f"{TITLES[MAIN_METRIC]} by table: {split}, K = {k}", ("table", *learners), rows
        )


def _worst(whole: pl.DataFrame) -> Iterator[Section]:
    """The families that the best learner finds least of, at most shots."""
    for (split,), part in whole.group_by("split", maintain_order=True):
        most = part.filter(pl.col("k") == part["k"].max())
        ranking = rank_learners(most, MAIN_METRIC)
        rivals = [name for name in ranking.learners if name not in BLIND]
        best = "kshot" if "kshot" in rivals else rivals[0] if rivals else ""
        if not best:
            continue
        means = most.group_by("data", "family", "learner").agg(pl.col(MAIN_METRIC).mean())
        wide = means.pivot("learner", index=["data", "family"], values=MAIN_METRIC).sort(best, "data", "family")
        names = [best, *(name for name in ranking.learners if name != best)]
        rows = [
            (row["data"], row["family"], *(_number(row[name], 3) for name in names))
            for row in wide.head(_WORST).iter_rows(named=True)
        ]
        title = f"Worst families of {best}: {split!s}, K = {most['k'][0]}, {TITLES[MAIN_METRIC]}"
        yield Section(f"worst-{split!s}", title, ("table", "family", *names), rows)


def _shots_to_detect(plain: pl.DataFrame) -> Iterator[Section]:
    """The least K at which a family's mean R@1% reaches 0.9."""
    means = plain.group_by("split", "learner", "data", "family", "k").agg(pl.col(MAIN_METRIC).mean())
    for (split,), part in means.sort("split").group_by("split", maintain_order=True):
        most = int(str(part["k"].max()))
        rows = []
        for (name,), mine in part.sort("learner").group_by("learner", maintain_order=True):
            learner = str(name)
            families = mine.select("data", "family").n_unique()
            found = mine.filter(pl.col(MAIN_METRIC) >= _FOUND).group_by("data", "family").agg(pl.col("k").min())
            shares = [f"{(found['k'] <= k).sum() / families:.2f}" for k in (1, 5, 10, most)]
            # A family that is never found stands above all that are.
            ordered = sorted(found["k"].to_list())
            middle = str(ordered[families // 2]) if families // 2 < len(ordered) else f"> {most}"
            rows.append((_labelled(learner), middle, *shares, str(families)))
        head = ("learner", "median K", "by 1", "by 5", "by 10", f"by {most}", "families")
        about = f"Share of families of which a mean R@1% of {_FOUND} is reached with so many shots."
        yield Section(f"shots-{split!s}", f"Shots to detect: {split!s}", head, rows, about)


def _site_change(results: pl.DataFrame) -> Iterator[Section]:
    """R@1% with the other site's shots over that with the site's own."""
    told = results.filter(pl.col("data").str.contains(" -> ", literal=True))
    told = told.with_columns(
        pl.col("data").str.ends_with(", own shots").alias("home"), pl.col("data").str.strip_suffix(", own shots")
    )
    for (split, k), part in told.sort("split", "k").group_by("split", "k", maintain_order=True):
        means = part.group_by("learner", "data", "home").agg(pl.col(MAIN_METRIC).mean())
        wide = means.pivot("home", index=["data", "learner"], values=MAIN_METRIC).sort("data", "learner")
        rows: list[tuple[str, ...]] = []
        for row in wide.drop_nulls().iter_rows(named=True):
            moved, home = row["false"], row["true"]
            rows.append((row["data"], row["learner"], f"{moved:.3f}", f"{home:.3f}", f"{moved / max(home, 1e-9):.2f}"))
        head = ("site change", "learner", "R@1% moved", "own shots", "kept")
        yield Section(f"site-change-{split!s}-{k!s}", f"Change of site: {split}, K = {k}", head, rows)


def _with_pool(results: pl.DataFrame) -> Iterator[Section]:
    """R@1% with a pool of unlabelled records beside that without, on the same episodes."""
    given, plain = (
        results.filter(pl.col("split").str.ends_with(end)).with_columns(pl.col("split").str.strip_suffix(end))
        for end in (WITH_POOL, WITHOUT_POOL)
    )
    both = given.join(plain, on=["split", "k", "learner", "corpus", *_EPISODE], suffix="_without")
    metrics = (MAIN_METRIC, "average_precision")
    values = [name for metric in metrics for name in (f"{metric}_without", metric)]
    means = nested_means(both, values, ["split", "k", "learner"]).sort("split", "k", "learner")
    for (split, k), part in means.group_by("split", "k", maintain_order=True):
        rows = [(row["learner"], *(_number(row[name], 3) for name in values)) for row in part.iter_rows(named=True)]
        head = ("learner", *(f"{TITLES[metric]} {what}" for metric in metrics for what in ("without", "with a pool")))
        about = "The same shots, reference and queries; beside them a pool of the site's unlabelled records, or none."
        yield Section(f"pool-{split!s}-{k!s}", f"With unlabelled records: {split}, K = {k}", head, rows, about)


def _measures(told: pl.DataFrame) -> Iterator[Section]:
    """Means of what else was measured, a table for each split and K."""
    if not len(told):
        return
    means = nested_means(told, ["value"], ["split", "k", "learner", "measure"]).sort("split", "k", "learner")
    groups = told.group_by("split", "k", "measure").agg(pl.struct(["data", "seed"]).n_unique().alias("draws"))
    for (split, k), part in means.group_by("split", "k", maintain_order=True):
        names = [name for name in told["measure"].unique(maintain_order=True) if name in part["measure"]]
        wide = part.pivot("measure", index="learner", values="value")
        rows = [(_labelled(row["learner"]), *(_number(row[name], 3) for name in names)) for row in wide.to_dicts()]
        draws = int(str(groups.filter((pl.col("split") == split) & (pl.col("k") == k))["draws"].max()))
        head = ("learner", *(name.replace("_", " ") for name in names))
        about = f"Up to {draws} draws of a table each. Calibration is a claim from 200 draws on (--seeds)."
        calibrated = any(name.startswith("delivered") for name in names)
        title = f"Measures: {split}, K = {k}"
        yield Section(f"measures-{split!s}-{k!s}", title, head, rows, about if calibrated else "")


def _labelled(name: str) -> str:
    return f"{name} (sees no shot)" if name in BLIND else name


def _interval(paired: Paired, name: str) -> str:
    return _estimate(paired.mean(name)) if paired.n_episodes else _NONE


def _estimate(told: Estimate) -> str:
    return f"{told.value:.3f} [{told.low:.3f}, {told.high:.3f}]"


def _number(value: float | None, digits: int) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def as_markdown(sections: Sequence[Section]) -> str:
    """Return sections as Markdown that also reads well unrendered."""
    blocks = []
    for section in sections:
        widths = [max(len(row[i]) for row in [section.head, *section.rows]) for i in range(len(section.head))]
        lines = [_line(section.head, widths), "|" + "|".join("-" * (w + 2) for w in widths) + "|"]
        lines += [_line(row, widths) for row in section.rows]
        blocks.append("\n".join([f"## {section.title}", "", *([section.about, ""] if section.about else []), *lines]))
    return "\n\n".join(blocks) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (
        "| " + " | ".join(cell.replace("|", "/").ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
    )
