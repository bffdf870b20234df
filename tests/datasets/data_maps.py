"""A small table with all that a map can speak of, and its map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from kshot.datasets import Library, Manifest, import_dataset, read_declaration

SHARED = Path(__file__).resolve().parents[2] / "../shared"

MAP = """
name = "desk-logins"
corpus = "desk"
file = "logins.csv"
label = "verdict"
benign = ["ok"]
exclude = ["unclear"]
group = "session"
order = "when"

[drop]
identifier = ["row"]
gives_away = ["tool"]

[mask]
agent = "^Mozilla/"

[families]
"brute*" = { name = "brute-force", tactic = "credential-access" }
"""


def logins(rows: int = 400, seed: int = 0) -> pl.DataFrame:
    """Rows in reverse order of time; every fourth is an attack, labels with blanks about them, some rows repeat."""
    rng = np.random.default_rng(seed)
    verdict = np.array([["ok", "ok ", "brute-ssh", "unclear", " brute-ftp"][i % 5] for i in range(rows)], dtype=object)
    verdict[7] = None
    attack = np.array([str(v).strip().startswith("brute") for v in verdict])
    return pl.DataFrame(
        {
            "row": np.arange(rows),
            "when": [f"2026-01-01T{(rows - i) // 60:02d}:{(rows - i) % 60:02d}:00" for i in range(rows)],
            "session": [f"s{i // 10}" for i in range(rows)],
            "tries": rng.poisson(2.0, rows) + 20 * attack,
            "agent": [f"Mozilla/{rng.integers(9)}" for _ in range(rows)],
            "tool": np.where(attack, "hydra", "browser").tolist(),
            "verdict": verdict.tolist(),
        }
    )


def write_logins(folder: Path, text: str = MAP, rows: int = 400) -> Path:
    """Write map and table; return the map's path."""
    logins(rows).write_csv(folder / "logins.csv")
    (folder / "logins.toml").write_text(text)
    return folder / "logins.toml"


def bring(folder: Path, library: Library, text: str = MAP, **options: bool) -> Manifest:
    """Import the logins as the map says."""
    dataset, told = read_declaration(write_logins(folder, text))
    return import_dataset(library, dataset, told, folder / "logins.csv", "2026-01-01T00:00:00Z", **options)
