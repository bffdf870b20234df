"""The table of what a folder of runs holds, a row a threat and run: python range/summary.py OUT."""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path


def rows(out: Path) -> list[tuple[str, str, str, str, int, int]]:
    """(threat, run, folder, tools, attack connections, benign connections), a row a threat of each run, sorted."""
    found = []
    for path in out.glob("*/truth.csv"):
        folder = path.parent.name
        run = folder.split("-")[-2]
        tools: dict[str, Counter[str]] = defaultdict(Counter)
        benign = 0
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                benign += line["label"] == "benign"
                if line["part"] == "attack":
                    tools[line["label"]][line["tool"]] += 1
        if not tools:
            found.append(("benign", "", folder, "", 0, benign))
        for threat, counts in tools.items():
            told = ", ".join(f"{tool} {count}" for tool, count in counts.most_common())
            found.append((threat, run, folder, told, sum(counts.values()), benign))
    return sorted(found, key=lambda row: (row[0], row[1] != "teach", row[2]))


def main() -> None:
    """summary.py OUT."""
    print(
        "| threat | run | folder | tools and their connections | attack | benign beside it |\n|---|---|---|---|---|---|"
    )
    for row in rows(Path(sys.argv[1])):
        print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
