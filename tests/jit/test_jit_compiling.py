"""numba's own cache: what an older release left there is no obstacle."""

import subprocess
import sys
from pathlib import Path

SOURCE = """
from typing import NamedTuple
import numpy as np
from kshot.jit import njit


class {name}(NamedTuple):
    rows: np.ndarray


@njit
def total(desk):
    return desk.rows.sum()
"""


def test_a_type_that_is_no_more_is_compiled_anew(tmp_path: Path) -> None:
    module = tmp_path / "kernels.py"
    for name in ("Desk", "Node", "Node"):
        module.write_text(SOURCE.format(name=name))
        asked = f"import numpy, kernels; print(kernels.total(kernels.{name}(numpy.arange(4))))"
        run = subprocess.run([sys.executable, "-c", asked], cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert (run.returncode, run.stdout) == (0, "6\n"), run.stderr
    assert list(tmp_path.glob("**/*.nbi"))
