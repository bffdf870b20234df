"""Whether built-in threats are found alike in a capture and in the logs made of it."""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from benchmarks.foreign import SHARED, SHIPPED
from benchmarks.logs import conn_records, eve_fact_records, eve_records, fact_records, json_lines
from kshot.errors import UserError
from kshot.store import builtin_reference, builtin_threats
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import DEFAULT_RATE, Records, read_records

BENIGN_CAPTURES = 60
MOST_FLOWS = 3_000
SENSORS = ("zeek", "eve")
_MICROSECONDS = pl.Datetime("us", "UTC")
KEYS = ["capture", "originator", "responder", "orig_port", "resp_port", "protocol", "started"]


@dataclass(frozen=True, slots=True)
class Seen:
    """The flows of one capture as one source tells them."""

    keys: pl.DataFrame
    """KEYS of each."""
    features: pl.DataFrame


def seen(records: Records, capture: str) -> Seen:
    """Take from records what is judged, and what finds it again in another source."""
    started = pl.col("first_time").cast(_MICROSECONDS).alias("started")
    frame = records.frame.with_columns(pl.lit(capture).alias("capture"), started)
    return Seen(frame.select(KEYS), records.features)


def verdicts(captures: Iterable[Seen], laboratory: Laboratory) -> pl.DataFrame:
    """KEYS, alarm and threat of each flow that stands alone under its key, on the rule of the first day.

    Every record is judged by itself, so that all captures of the same columns may be judged at once.
    """
    alike: dict[tuple[str, ...], list[Seen]] = defaultdict(list)
    for capture in captures:
        alike[tuple(capture.features.columns)].append(capture)
    told = []
    for columns, group in alike.items():
        sighting = laboratory.bench(columns).judge(pl.concat([capture.features for capture in group]))
        alarmed = zip(sighting.threat, sighting.alarms(DEFAULT_RATE), strict=True)
        named = pl.Series("alarm", [threat if alarm else "" for threat, alarm in alarmed], dtype=pl.String)
        told.append(pl.concat([capture.keys for capture in group]).with_columns(named))
    return pl.concat(told).unique(KEYS, keep="none")


def write_logs(flows: pl.DataFrame, folder: Path) -> dict[str, Path]:
    """Write the logs of both sensors; return where."""
    zeek = folder / "zeek"
    zeek.mkdir()
    for name, records in {"conn": conn_records(flows), **fact_records(flows)}.items():
        lines = [*json_lines(records)]
        if lines:
            (zeek / f"{name}.log").write_text("\n".join(lines) + "\n")
    events = [*eve_records(flows), *eve_fact_records(flows)]
    (folder / "eve.json").write_text("".join(json.dumps(event) + "\n" for event in events))
    return {"zeek": zeek, "eve": folder / "eve.json"}


def foreign_captures() -> list[Path]:
    """All attack captures whose family ships, and some benign ones."""
    labels = SHARED / "captures" / "labels.csv"
    if not labels.exists():
        print(f"skipped: {labels} is not there")
        sys.exit(0)
    with labels.open() as file:
        rows = list(csv.DictReader(file))
    benign = random.Random(0).sample([row for row in rows if row["verdict"] == "benign"], BENIGN_CAPTURES)
    return [SHARED / row["path"] for row in [*benign, *(row for row in rows if row["family"] in SHIPPED)]]


def read_all(captures: Iterable[Path], most: int) -> dict[str, list[Seen]]:
    """The first flows of each capture as packets and as either log tell them."""
    told: dict[str, list[Seen]] = {source: [] for source in ("packets", *SENSORS)}
    for path in captures:
        try:
            records = read_records([path], MeterOptions())
        except UserError:
            continue
        records = Records("flow", records.frame[:most], records.features[:most], records.metering)
        told["packets"].append(seen(records, str(path)))
        with tempfile.TemporaryDirectory() as folder:
            for sensor, logs in write_logs(records.frame, Path(folder)).items():
                try:
                    told[sensor].append(seen(read_records([logs], MeterOptions()), str(path)))
                except UserError:
                    continue
    return told


def main() -> None:
    """Print the share of records whose verdicts agree, and the disagreements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("captures", nargs="*", type=Path, help="instead of those that are not ours")
    parser.add_argument("--most", type=int, default=MOST_FLOWS, help="flows of a capture")
    arguments = parser.parse_args()
    laboratory = Laboratory(builtin_threats(), builtin_reference()[0])
    told = read_all(arguments.captures or foreign_captures(), arguments.most)
    packets = verdicts(told["packets"], laboratory)
    for sensor in SENSORS:
        both = packets.join(verdicts(told[sensor], laboratory), on=KEYS, suffix="_logged")
        pairs = Counter(both.select("alarm", "alarm_logged").rows())
        total, same = pairs.total(), sum(count for (a, b), count in pairs.items() if a == b)
        either = sum(count for (a, b), count in pairs.items() if bool(a) == bool(b))
        alerted = sum(count for (a, b), count in pairs.items() if a or b)
        alike = sum(count for (a, b), count in pairs.items() if a and a == b)
        print(
            f"{sensor}: of {total:,} records {either / total:.2%} agree on whether to alert, {same / total:.2%} in the "
            f"name too; of {alerted:,} that alert in either, {alike:,} alike"
        )
        for (name, logged), count in pairs.most_common():
            if name != logged:
                print(f"  {count:6,}  packets {name or 'nothing'}, log {logged or 'nothing'}")


if __name__ == "__main__":
    main()
