"""Promises about the code base itself: what is imported when, and what must never be in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "core", "manager", "misc"}


def loaded_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


def test_importing_kshot_loads_nothing_heavy() -> None:
    assert not loaded_by("import kshot") & {"numba", "polars", "sklearn", "numpy", "torch"}


def test_the_sensor_carries_no_torch() -> None:
    assert "torch" not in loaded_by("from kshot import FewShotClassifier; import kshot.stream.pipeline")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_source_file(path: Path) -> None:
    text = path.read_text()
    assert path.stem not in BANNED_NAMES and path.parent.name not in BANNED_NAMES
    assert text.startswith('"""'), "the first line says what the file is for"
    assert not re.search(r"\b(pickle|joblib\.load|torch\.load|marshal|shelve)\b", text), (
        "weights and state are never pickled (R25)"
    )
