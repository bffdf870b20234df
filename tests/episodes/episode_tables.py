"""Small labelled tables for the tests of episodes, and the reference implementation."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from kshot.episodes import BENIGN, LabelledTable, labelled_table

SHARED = Path(__file__).resolve().parents[2] / "../shared"


def make_table(
    name: str = "desk",
    corpus: str = "lab",
    benign: int = 1600,
    families: dict[str, int] | None = None,
    seed: int = 0,
    groups: int = 0,
) -> LabelledTable:
    """Rows in file order, each with its number in column `row_id`, so that a row is known again wherever it lands."""
    families = {"worm": 120, "scan": 90} if families is None else families
    rng = np.random.default_rng(seed)
    labels = ["benign"] * benign + [f for f, n in families.items() for _ in range(n)]
    labels = [labels[i] for i in rng.permutation(len(labels))]
    n = len(labels)
    shift = np.array([0.0 if label == "benign" else 1.0 + len(label) for label in labels])
    frame = pl.DataFrame(
        {
            "row_id": np.arange(n),
            "size": rng.normal(size=n) + shift,
            "rate": rng.gamma(2.0, size=n),
            "flag": rng.random(n) < 0.5,
            "service": rng.choice(["dns", "http", "ssh"], n),
        }
    )
    told = None if not groups else [f"host-{i % groups}" for i in range(n)]
    return labelled_table(name, corpus, frame, labels, told)


def unlabelled(rows: int = 900) -> LabelledTable:
    """Rows without labels, in columns of every kind."""
    rng = np.random.default_rng(8)
    frame = pl.DataFrame(
        {
            "price": rng.gamma(2.0, size=rows),
            "count": rng.poisson(3.0, rows),
            "shop": rng.choice(["a", "b", "c"], rows),
            "constant": np.ones(rows),
            "text": [f"item {i} " + "x" * int(n) for i, n in enumerate(rng.integers(0, 30, rows))],
        }
    )
    return labelled_table("till", "shop", frame, [BENIGN] * rows)


def reference_implementation() -> ModuleType:
    """The evaluation script beside the checkout; skips where it is absent."""
    path = SHARED / "evaluate/fewshot.py"
    if not path.exists():
        pytest.skip("needs shared/evaluate beside the checkout")
    spec = importlib.util.spec_from_file_location("fewshot_reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import warnings

    with warnings.catch_warnings():  # it silences all warnings for the whole process
        spec.loader.exec_module(module)
    return module
