"""The built-in threats over captures that are not ours, by default settings: a stranger's view."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
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
    "dns-tunnel": ("dns-tunnel", "dns-polling"),
    "dns-tunnel/iodine": ("dns-tunnel", "dns-polling"),
    "dns-tunnel/dnscat2": ("dns-tunnel", "dns-polling"),
    "web-attack": ("sql-injection", "web-exploit", "web-scanner", "http-bruteforce"),
}
"""Families of the captures' labels whose threat ships, and its right names."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What is said of one capture."""

    path: str
    family: str
    """Of its label; empty if benign."""
    flows: int
    told: Counter[str]
    """Alerted flows by threat."""
    looks: Counter[str]
    """What alerted flows look like; all flows where none alerted."""
    alerts: Counter[tuple[str, str]]
    """Alerted flows by what they look like and the threat."""

    @property
    def is_right(self) -> bool:
        """Whether most of its alerted flows bear a right name."""
        return bool(self.told) and self.told.most_common(1)[0][0] in SHIPPED.get(self.family, ())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--list", action="store_true", help="also every benign capture with an alert, not the three loudest"
    )
    options = arguments.parse_args()
    labels = SHARED / "captures" / "labels.csv"
    if not labels.exists():
        print(f"skipped: {labels} is not there")
        sys.exit(0)
    began = time.perf_counter()
    laboratory = Laboratory(builtin_threats(), builtin_reference()[0])
    families: dict[str, list[Judged]] = defaultdict(list)
    benign: list[Judged] = []
    rows, captures = _read(labels)
    # Every record is judged by itself, so all captures may be judged at once.
    features = pl.concat(captures)
    sighting = laboratory.bench(features.columns).judge(features)
    alarms = sighting.alarms(DEFAULT_RATE)
    ends = np.cumsum([capture.height for capture in captures])
    for row, capture, end in zip(rows, captures, ends, strict=True):
        mine = slice(end - capture.height, end)
        told = Counter(sighting.threat[mine][alarms[mine]].tolist())
        is_benign = row["verdict"] == "benign"
        looks = _looks(capture.filter(alarms[mine]) if told else capture)
        alerts = Counter(zip(looks, sighting.threat[mine][alarms[mine]], strict=True)) if told else Counter()
        family = "" if is_benign else row["family"]
        judged = Judged(row["path"], family, capture.height, told, Counter(looks), alerts)
        (benign if is_benign else families[row["family"]]).append(judged)
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


def _looks(features: pl.DataFrame) -> list[str]:
    """Each flow in words: transport or service, whether answered, and how the connection stood."""
    spoken = pl.col("service").cast(pl.String)
    words = pl.concat_str(
        pl.when(spoken.is_in(["none", "unknown"])).then(pl.col("transport").cast(pl.String)).otherwise(spoken),
        pl.when(pl.col("transport") == "tcp")
        .then(pl.lit(" ") + pl.col("connection_state").cast(pl.String))
        .when(pl.col("is_answered"))
        .then(pl.lit(" answered"))
        .otherwise(pl.lit(" unanswered")),
        ignore_nulls=True,
    )
    return features.select(words).to_series().to_list()


def _named(counts: Counter[str], most: int = 3) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common(most))


def _tell_families(families: dict[str, list[Judged]]) -> None:
    print("| family | captures | alerted | right name | threats alerted, in flows |\n|---|---|---|---|---|")
    shipped = found = 0
    for family, captures in sorted(families.items(), key=lambda item: (item[0] not in SHIPPED, item[0])):
        right = sum(capture.is_right for capture in captures)
        alerted = sum(bool(capture.told) for capture in captures)
        total = sum((capture.told for capture in captures), Counter())
        if family in SHIPPED:
            shipped, found = shipped + len(captures), found + right
        count = right if family in SHIPPED else "-"
        print(f"| {family} | {len(captures)} | {alerted} | {count} | {_named(total, 4)} |")
    print(
        f"\nright name in {found} of {shipped} captures whose family ships ({found / max(shipped, 1):.0%}). Missed:\n"
    )
    print("| capture | flows | what was said | what its flows are |\n|---|---|---|---|")
    for family, captures in sorted(families.items()):
        for capture in captures:
            if family in SHIPPED and not capture.is_right:
                said = _named(capture.told) or "nothing"
                print(
                    f"| {Path(capture.path).name} ({family}) | {capture.flows:,} | {said} | {_named(capture.looks)} |"
                )


def _tell_benign(benign: list[Judged], *, whole: bool) -> None:
    flows = sum(capture.flows for capture in benign)
    alarmed = sum(capture.told.total() for capture in benign)
    loud = [capture for capture in benign if capture.told]
    print(
        f"\nbenign: {alarmed:,} of {flows:,} flows alerted ({alarmed / max(flows, 1):.2%}), in {len(loud)} of "
        f"{len(benign)} captures, by what these flows are:\n"
    )
    names: dict[str, Counter[str]] = defaultdict(Counter)
    places: dict[str, Counter[str]] = defaultdict(Counter)
    for capture in loud:
        for (look, threat), count in capture.alerts.items():
            names[look][threat] += count
            places[look][_short(capture.path)] += count
    print("| flows | alerted | as | captures |\n|---|---|---|---|")
    for look in sorted(names, key=lambda look: -names[look].total()):
        told = ", ".join(f"{name} {count}" for name, count in names[look].most_common(None if whole else 3))
        where = ", ".join(f"{name} {count}" for name, count in places[look].most_common(None if whole else 3))
        print(f"| {look} | {names[look].total():,} | {told} | {where} |")


def _short(path: str) -> str:
    """A capture's name without what its collection puts before it."""
    return Path(path).stem.replace("tests__cfgs__default__pcap__", "").replace("pcaps__", "")


if __name__ == "__main__":
    main()
