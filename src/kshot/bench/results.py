"""Figures as frames: one row an episode and learner, in the columns that results.parquet has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from kshot.bench.contestants import Contestant
from kshot.bench.measures import RECALL_GRID
from kshot.bench.scoring import Row
from kshot.store import output_error, whole_file

KEY = {
    "learner": pl.String,
    "data": pl.String,
    "corpus": pl.String,
    "family": pl.String,
    "k": pl.Int64,
    "seed": pl.Int64,
    "split": pl.String,
}
"""What an episode and a learner are named by."""
METRICS = ("auroc", "average_precision", "recall_at_1pct", "recall_at_01pct")
RESULTS = {**KEY, **dict.fromkeys((*METRICS, "adapt_seconds", "score_seconds"), pl.Float64)}
"""Columns of results.parquet."""
MEASURES = {**KEY, "measure": pl.String, "value": pl.Float64}
"""Columns of measures.parquet: what else was measured, one figure a row."""
CURVES = {**KEY, "recall": pl.Float64, "precision": pl.Float64}
"""Columns of curves.parquet: precision at a prevalence of 1:10, means over the families of a table."""


TRAININGS: dict[str, pl.DataType | type[pl.DataType]] = {
    "learner": pl.String,
    "weights": pl.String,
    "corpora": pl.List(pl.String),
    "steps": pl.Int64,
    "cpu_minutes": pl.Float64,
    "converged": pl.Boolean,
}
"""Columns of trainings.parquet: which weights were scored, and how they were trained."""


def trainings_frame(trained: Sequence[Contestant]) -> pl.DataFrame:
    """Return how each of the trained learners was trained; null where its weights do not say."""
    told = []
    for one in trained:
        training = one.training
        steps, minutes, converged = (
            (None,) * 3 if training is None else (training.steps, training.cpu_minutes, training.converged)
        )
        told.append((one.name, one.weights, [*one.corpora], steps, minutes, converged))
    return pl.DataFrame(told, schema=TRAININGS, orient="row")


def results_frame(rows: Sequence[Row]) -> pl.DataFrame:
    """Return the ranking figures of all episodes in which one threat was ranked."""
    told = [
        {name: row[name] for name in RESULTS} for row in rows if row["question"] in ("ranking", "site-change", "pool")
    ]
    return pl.DataFrame(told, schema=RESULTS)


def measures_frame(rows: Sequence[Row]) -> pl.DataFrame:
    """Return the other figures of all episodes."""
    told = [
        {**{key: row[key] for key in KEY}, "measure": name, "value": value}
        for row in rows
        for name, value in row["measures"].items()
    ]
    return pl.DataFrame(told, schema=MEASURES)


def curves_frame(rows: Sequence[Row]) -> pl.DataFrame:
    """Return the precision-recall curves of all episodes."""
    told = [
        {**{key: row[key] for key in KEY}, "recall": recall, "precision": precision}
        for row in rows
        for recall, precision in zip(RECALL_GRID, row["precision"], strict=False)
    ]
    return pl.DataFrame(told, schema=CURVES)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write Parquet, whole or not at all.

    Raises:
        OutputError: disk full, no rights.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path.parent, error) from error
    with whole_file(path) as whole:
        frame.write_parquet(whole.path)
