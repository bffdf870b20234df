"""Small tables with known families, for the tests of the benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from kshot.episodes import BENIGN, LabelledTable, labelled_table

FAMILIES = {"worm": 2.5, "scan": -2.0}


def made_table(
    name: str = "made",
    n_benign: int = 1800,
    families: dict[str, float] | None = None,
    n_family: int = 90,
    seed: int = 0,
) -> LabelledTable:
    """Benign rows about zero, each family moved by so many standard deviations in two of four columns."""
    rng = np.random.default_rng(seed)
    families = FAMILIES if families is None else families
    labels = np.array([BENIGN] * n_benign + [f for f in families for _ in range(n_family)], dtype=object)
    labels = labels[rng.permutation(len(labels))]
    x = rng.normal(size=(len(labels), 4))
    moved = np.array([families.get(label, 0.0) for label in labels])
    x[:, 0] += moved
    x[:, 1] += moved / 2.0
    frame = pl.DataFrame({f"x{i}": x[:, i] for i in range(4)})
    return labelled_table(name, f"{name}-lab", frame, labels)


def write_table(path: Path, table: LabelledTable | None = None) -> Path:
    """Write a table as a user would have it."""
    table = made_table() if table is None else table
    table.features.with_columns(pl.Series("label", table.labels.tolist())).write_parquet(path)
    return path
