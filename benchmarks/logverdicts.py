"""Whether the built-in threats are found alike in a capture and in the logs that Zeek and Suricata would make of it."""

from __future__ import annotations

import csv
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl

from benchmarks.foreign import SHARED, SHIPPED
from benchmarks.logs import conn_records, eve_fact_records, eve_records, fact_records, json_lines
from kshot.errors import UserError
from kshot.store import builtin_reference, builtin_threats
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import Records, read_records, scan

BENIGN_CAPTURES = 60
MOST_FLOWS = 3_000
_MICROSECONDS = pl.Datetime("us", "UTC")
KEYS = ["originator", "responder", "orig_port", "resp_port", "protocol", "started"]


def verdicts(records: Records, laboratory: Laboratory) -> pl.DataFrame:
    """KEYS, the alarm and the threat of each flow that stands alone under its key."""
    told = scan(records, [], laboratory=laboratory).verdicts
    keyed = records.frame.with_columns(pl.col("first_time").cast(_MICROSECONDS).alias("started")).select(KEYS)
    alarmed = pl.when(told["alarm"]).then(told["threat"]).otherwise(pl.lit("")).alias("alarm")
    return keyed.hstack(told.select(alarmed)).unique(KEYS, keep="none")


def write_logs(flows: pl.DataFrame, folder: Path) -> tuple[Path, Path]:
    """Write the logs of both sensors; return where."""
    zeek = folder / "zeek"
    zeek.mkdir()
    for name, records in {"conn": conn_records(flows), **fact_records(flows)}.items():
        lines = [*json_lines(records)]
        if lines:
            (zeek / f"{name}.log").write_text("\n".join(lines) + "\n")
    events = [*eve_records(flows), *eve_fact_records(flows)]
    (folder / "eve.json").write_text("".join(json.dumps(event) + "\n" for event in events))
    return zeek, folder / "eve.json"


def main() -> None:
    labels = SHARED / "captures" / "labels.csv"
    if not labels.exists():
        print(f"skipped: {labels} is not there")
        sys.exit(0)
    with labels.open() as file:
        rows = list(csv.DictReader(file))
    benign = random.Random(0).sample([row for row in rows if row["verdict"] == "benign"], BENIGN_CAPTURES)
    attacks = [row for row in rows if row["family"] in SHIPPED]
    laboratory = Laboratory(builtin_threats(), builtin_reference()[0])
    told: dict[str, Counter[tuple[str, str]]] = {"zeek": Counter(), "eve": Counter()}
    for row in [*benign, *attacks]:
        try:
            records = read_records([SHARED / row["path"]], MeterOptions())
        except UserError:
            continue
        if len(records) > MOST_FLOWS:
            records = Records("flow", records.frame[:MOST_FLOWS], records.features[:MOST_FLOWS], records.metering)
        seen = verdicts(records, laboratory)
        with tempfile.TemporaryDirectory() as folder:
            for sensor, path in zip(told, write_logs(records.frame, Path(folder)), strict=True):
                try:
                    logged = verdicts(read_records([path], MeterOptions()), laboratory)
                except UserError:
                    continue
                both = seen.join(logged, on=KEYS, suffix="_logged").select("alarm", "alarm_logged")
                told[sensor].update(both.rows())
    for sensor, pairs in told.items():
        total, same = pairs.total(), sum(count for (a, b), count in pairs.items() if a == b)
        alerted = sum(count for (a, b), count in pairs.items() if a or b)
        alike = sum(count for (a, b), count in pairs.items() if a and a == b)
        print(
            f"{sensor}: {same / total:.2%} of {total:,} records agree; of {alerted:,} alerted by either {alike:,} alike"
        )
        for (packets, log), count in pairs.most_common():
            if packets != log:
                print(f"  {count:6,}  packets {packets or 'nothing'}, log {log or 'nothing'}")


if __name__ == "__main__":
    main()
