"""The table of what a folder of runs holds: `python range/summary.py OUT` prints threat, run, tool and connections."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path


def rows(out: Path) -> list[tuple[str, str, str, int, int]]:
    """(scenario, run, tools, attack connections, benign connections) of each run."""
    found = []
    for path in sorted(out.glob("*/truth.csv")):
        scenario, _, run = path.parent.name.rpartition("-")[0].rpartition("-")
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
        tools = Counter(line["tool"] for line in lines if line["part"] == "attack")
        benign = sum(line["label"] == "benign" for line in lines)
        told = ", ".join(f"{tool} {count}" for tool, count in tools.most_common())
        found.append((scenario or "benign", run if scenario else "", told, sum(tools.values()), benign))
    return found


def main() -> None:
    """summary.py OUT."""
    print("| threat | run | tools and their connections | attack | benign |\n|---|---|---|---|---|")
    for scenario, run, tools, attack, benign in rows(Path(sys.argv[1])):
        print(f"| {scenario} | {run} | {tools} | {attack} | {benign} |")


if __name__ == "__main__":
    main()
