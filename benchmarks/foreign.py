"""The built-in threats over captures that are not ours, by default settings: a stranger's view."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import polars as pl

from kshot.errors import UserError
from kshot.store import builtin_reference, builtin_threats
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import DEFAULT_RATE, read_records

SHARED = Path(__file__).resolve().parents[1] / "../shared/data"
SHIPPED: dict[str, tuple[str, ...]] = {
    "scan": ("port-scan", "host-sweep", "udp-scan", "service-scan"),
    "scan/nmap": ("port-scan", "host-sweep", "udp-scan", "service-scan"),
    "scan/masscan": ("port-scan", "host-sweep", "udp-scan"),
    "ddos/syn-flood": ("syn-flood",),
    "ddos/syn-flood+benign": ("syn-flood",),
    "dns-tunnel": ("dns-tunnel",),
    "dns-tunnel/iodine": ("dns-tunnel",),
    "dns-tunnel/dnscat2": ("dns-tunnel",),
    "web-attack": ("sql-injection", "web-scanner", "http-bruteforce"),
}
"""Families of the captures' labels whose threat ships, and its right names. Of web attacks only SQL injection, scanners
and password guessing ship: the others count as missed."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--list", action="store_true", help="also every benign capture with an alert")
    options = arguments.parse_args()
    labels = SHARED / "captures" / "labels.csv"
    if not labels.exists():
        print(f"skipped: {labels} is not there")
        sys.exit(0)
    began = time.perf_counter()
    laboratory = Laboratory(builtin_threats(), builtin_reference()[0])
    families: dict[str, list[tuple[str, bool, Counter[str], int]]] = defaultdict(list)
    benign: list[tuple[str, int, Counter[str]]] = []
    rows, captures = _read(labels)
    # Every record is judged by itself, so all captures may be judged at once.
    features = pl.concat(captures)
    sighting = laboratory.bench(features.columns).judge(features)
    alarms = sighting.alarms(DEFAULT_RATE)
    ends = np.cumsum([capture.height for capture in captures])
    for row, capture, end in zip(rows, captures, ends, strict=True):
        mine = slice(end - capture.height, end)
        flows = Counter(sighting.threat[mine][alarms[mine]].tolist())
        if row["verdict"] == "benign":
            benign.append((row["path"], capture.height, flows))
        else:
            loudest = flows.most_common(1)[0][0] if flows else ""
            right = loudest in SHIPPED.get(row["family"], ())
            families[row["family"]].append((row["path"], right, flows, capture.height))
    _tell_families(families)
    _tell_benign(benign, whole=options.list)
    print(f"\n{len(rows)} captures with a flow in {time.perf_counter() - began:.0f} s")


def _read(labels: Path) -> tuple[list[dict[str, str]], list[pl.DataFrame]]:
    """The labels and features of every capture that holds a flow."""
    rows, captures = [], []
    with labels.open() as file:
        for row in csv.DictReader(file):
            try:
                captures.append(read_records([SHARED / row["path"]], MeterOptions()).features)
            except UserError:
                continue
            rows.append(row)
    return rows, captures


def _tell_families(families: dict[str, list[tuple[str, bool, Counter[str], int]]]) -> None:
    print("| family | captures | alerted | right name | threats alerted, in flows |\n|---|---|---|---|---|")
    shipped = found = 0
    for family, captures in sorted(families.items(), key=lambda item: (item[0] not in SHIPPED, item[0])):
        right = sum(good for _, good, _, _ in captures)
        alerted = sum(bool(flows) for _, _, flows, _ in captures)
        total = sum((flows for _, _, flows, _ in captures), Counter())
        named = ", ".join(f"{name} {count:,}" for name, count in total.most_common(4))
        if family in SHIPPED:
            shipped, found = shipped + len(captures), found + right
        print(f"| {family} | {len(captures)} | {alerted} | {right if family in SHIPPED else '-'} | {named} |")
    print(f"\nright name in {found} of {shipped} captures whose family ships ({found / max(shipped, 1):.0%}). Missed:")
    for family, captures in sorted(families.items()):
        for path, good, flows, count in captures:
            if family in SHIPPED and not good:
                named = ", ".join(f"{name} {n}" for name, n in flows.most_common(3)) or "no alert"
                print(f"- {Path(path).name} ({family}, {count} flows): {named}")


def _tell_benign(benign: list[tuple[str, int, Counter[str]]], *, whole: bool) -> None:
    flows = sum(count for _, count, _ in benign)
    alarmed = sum(sum(told.values()) for _, _, told in benign)
    loud = sorted((item for item in benign if item[2]), key=lambda item: -sum(item[2].values()))
    print(
        f"\nbenign: {alarmed:,} of {flows:,} flows alerted ({alarmed / max(flows, 1):.2%}), in {len(loud)} of "
        f"{len(benign)} captures:"
    )
    for path, count, told in loud if whole else loud[:15]:
        named = ", ".join(f"{name} {n}" for name, n in told.most_common(3))
        print(f"- {Path(path).name} ({count} flows): {named}")


if __name__ == "__main__":
    main()
