"""Tables and logs to damage, small and of every form, and what must hold when a damaged one is read."""

from __future__ import annotations

import gzip
import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from benchmarks.hostile import Outcome
from benchmarks.logs import CONN_FIELDS, conn_records, eve_records, json_lines, made_flows, tab_lines


def made_tables(folder: Path) -> list[Path]:
    """Write the same small tables as CSV, JSON and Parquet, packed in each way, and logs of Zeek and Suricata."""
    folder.mkdir(parents=True, exist_ok=True)
    few = pl.DataFrame({"a": [1, 2], "b": ["x", "ü,y"], "c": [0.5, None]})
    many = pl.select(
        pl.int_range(300).alias("number"),
        (pl.int_range(300) % 7 * 0.1).alias("share"),
        pl.when(pl.int_range(300) % 3 > 0).then(pl.format("host-{}", pl.int_range(300) % 5)).alias("host"),
        (pl.int_range(300) % 2 == 0).alias("odd"),
        pl.lit(datetime(2026, 1, 1, tzinfo=UTC)).alias("at"),
        pl.concat_list(pl.int_range(300), pl.int_range(300)).alias("pair"),
        pl.struct(pl.int_range(300).alias("x"), pl.lit("y").alias("z")).alias("inner"),
    )
    for name, frame in (("few", few), ("many", many)):
        for packing in ("uncompressed", "zstd", "snappy"):
            frame.write_parquet(folder / f"{name}_{packing}.parquet", compression=packing, row_group_size=100)
        frame.write_ndjson(folder / f"{name}.jsonl")
        (folder / f"{name}.json").write_text(json.dumps(json.loads(frame.write_json())))
    buffer = io.BytesIO()
    many.drop("pair", "inner").write_csv(buffer)
    (folder / "many.csv").write_bytes(buffer.getvalue())
    (folder / "many.csv.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))
    flows = made_flows(60)
    (folder / "conn.log").write_text("\n".join(tab_lines(conn_records(flows), CONN_FIELDS, "conn")))
    (folder / "conn_json.log").write_text("\n".join(json_lines(conn_records(flows))))
    (folder / "eve.json").write_text("\n".join(map(json.dumps, eve_records(flows))))
    return sorted(folder.iterdir())


def read(path: Path) -> Outcome:
    """Read a table or log as `kshot scan` would tell it; nothing may be raised but our own one-line errors."""
    from kshot.errors import UserError
    from kshot.sources.tables import read_table
    from kshot.stream.logs import is_log, read_logs

    outcome = Outcome(path.name)
    start = time.process_time()
    try:
        if is_log(path):
            frame, metering = read_logs([path])
            outcome.damage = next((one.damage or "" for one in metering.captures), "")
        else:
            frame = read_table(path)
        outcome.flows = frame.height
    except UserError as error:
        outcome.refused = str(error)
    outcome.cpu_seconds = time.process_time() - start
    if "\n" in outcome.refused + outcome.damage:
        outcome.fault = "a message of more than one line"
    return outcome
