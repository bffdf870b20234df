"""What compiling every kernel costs: CPU seconds by room and by kernel. `python -m benchmarks.compile`"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict

NAMED = 25
"""Kernels told one by one."""


def measure() -> None:
    """Compile everything in this process, whose cache is empty, and print the report."""
    from numba.core import event

    own: dict[str, float] = defaultdict(float)
    times: dict[str, int] = defaultdict(int)

    class Clock(event.Listener):  # type: ignore[misc]
        """Counts each kernel's own time; while one compiles, those that it calls may have to be compiled first."""

        def __init__(self) -> None:
            self.running: list[tuple[float, float]] = []

        def on_start(self, event: event.Event) -> None:
            self.running.append((time.process_time(), 0.0))

        def on_end(self, event: event.Event) -> None:
            start, of_others = self.running.pop()
            took = time.process_time() - start
            function = event.data["dispatcher"].py_func
            name = f"{function.__module__}.{function.__qualname__}"
            own[name] += took - of_others
            times[name] += 1
            if self.running:
                outer, so_far = self.running[-1]
                self.running[-1] = outer, so_far + took

    event.register("numba:compile", Clock())
    from kshot.stream.warm import warm

    start = time.process_time()
    warm()
    total = time.process_time() - start
    rooms: dict[str, float] = defaultdict(float)
    for name, seconds in own.items():
        rooms[".".join(name.split(".")[:2])] += seconds
    print("| room | CPU s | kernels |")
    print("|---|---|---|")
    for room, seconds in sorted(rooms.items(), key=lambda item: -item[1]):
        print(f"| {room} | {seconds:.1f} | {sum(name.startswith(room + '.') for name in own)} |")
    print(f"| all | {sum(own.values()):.1f} | {len(own)} |")
    print(f"\nWith imports and one run of everything: {total:.1f} CPU s.\n")
    print("| kernel | CPU s | times |")
    print("|---|---|---|")
    for name, seconds in sorted(own.items(), key=lambda item: -item[1])[:NAMED]:
        print(f"| {name} | {seconds:.2f} | {times[name]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    if parser.parse_args().here:
        measure()
        return
    with tempfile.TemporaryDirectory(prefix="kshot-compile-") as folder:
        command = [sys.executable, "-m", "benchmarks.compile", "--here"]
        sys.exit(subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": folder}).returncode)


if __name__ == "__main__":
    main()
