"""All benchmarks, one after the other; each is also a command of its own (python -m benchmarks.meter)."""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    "meter",
    "compile",
    "detection",
    "text",
    "calibration",
    "transfer",
    "hidden",
    "foreign",
    "verdict",
    "logs",
    "hostile",
    "meta",
)
"""The demo is no benchmark: `make demo` runs it."""


def main() -> None:
    wanted = sys.argv[1:] or MODULES
    for module in wanted:
        if module not in MODULES:
            sys.exit(f"{module}: no such benchmark; there are: {', '.join(MODULES)}")
    failed = []
    for module in wanted:
        print(f"\n## {module}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{module}"]).returncode:
            failed.append(module)
    if failed:
        sys.exit(f"failed or skipped: {', '.join(failed)}")


if __name__ == "__main__":
    main()
