"""Promises about the code base itself: what is imported when, and what must never be in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = sorted((REPOSITORY / "src").rglob("*.py"))
EVERY = sorted(path for room in ("src", "tests", "benchmarks", "range") for path in (REPOSITORY / room).rglob("*.py"))
LONGEST_HEAD = 100
"""Characters that say what a file is for, without the quotes."""
MOST_LINES = 400
# What was longer when this was counted first: mend these with the next change of theirs (a new stamp has kernels
# compiled again, and figures measured again). Both sets may only shrink.
LONG_HEADS = {
    "src/kshot/detection/blas.py",
    "src/kshot/detection/blend.py",
    "src/kshot/detection/calibration.py",
    "src/kshot/detection/columns.py",
    "src/kshot/detection/forest.py",
    "src/kshot/detection/frames.py",
    "src/kshot/detection/panel.py",
    "src/kshot/detection/self_reference.py",
    "src/kshot/features/addresses.py",
    "src/kshot/features/behaviour.py",
    "src/kshot/features/dissect.py",
    "src/kshot/features/log_facts.py",
    "src/kshot/features/memory.py",
    "src/kshot/features/structure.py",
    "src/kshot/sources/json_lines.py",
    "src/kshot/sources/line_spans.py",
}
LONG_FILES: set[str] = set()
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


def test_every_file_says_briefly_what_it_is_for() -> None:
    heads = {str(path.relative_to(REPOSITORY)): path.read_text().partition("\n")[0] for path in EVERY}
    assert not [name for name, head in heads.items() if not head.startswith('"""')]
    long = {name for name, head in heads.items() if len(head.strip('"')) > LONGEST_HEAD}
    assert long <= LONG_HEADS, f"shorten {sorted(long - LONG_HEADS)}"


def test_no_source_file_is_too_long_to_read() -> None:
    lines = {str(path.relative_to(REPOSITORY)): path.read_text().count("\n") for path in SOURCES}
    long = {name for name, count in lines.items() if count > MOST_LINES}
    assert long <= LONG_FILES, f"make two files of {sorted(long - LONG_FILES)}"
