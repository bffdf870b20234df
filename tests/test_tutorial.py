"""The tutorial's pages say what works: every command and line of Python in them is run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kshot

TUTORIAL = Path(__file__).resolve().parents[1] / "docs" / "tutorial"
CAPTURES = Path(kshot.__file__).parent / "content" / "captures"
PAGES = sorted(TUTORIAL.glob("[0-9]*.md"))
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(page: Path) -> str:
    """The page's commands as one shell script that stops at the first one that fails."""
    lines = ["set -euo pipefail"]
    for language, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        lines.append(body if language == "sh" else f"python - <<'PYTHON'\n{body}PYTHON\n")
    return "\n".join(lines)


@pytest.mark.slow  # the first page runs the whole demonstration, and the others scan its captures
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    text = script(page)
    assert text.count("\n") > 1, f"{page.name} holds no command"
    shutil.copytree(TUTORIAL / "logs", tmp_path / "logs")
    if page != PAGES[0]:  # what the first page's demonstration leaves
        shutil.copytree(CAPTURES, tmp_path / "first-look")
    surroundings = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KSHOT_HOME": str(tmp_path / "home"),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    run = subprocess.run(
        ["bash", "-c", text], cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, f"{page.name}: exit {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"


def test_there_are_five_pages() -> None:
    assert len(PAGES) == 5
