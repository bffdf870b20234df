"""Join flows to a run's ground truth; `python range/label.py RUN-FOLDER` says how well they agree."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

SLACK_SECONDS = 1.0
"""How far a flow may lie outside its connection's time, which is told in microseconds."""


def read_truth(path: str | Path) -> pl.DataFrame:
    """Read a truth.csv: `start` and `end` as datetimes, and the row's number as `connection`."""
    types = {"start": pl.String, "end": pl.String, "orig_port": pl.UInt16, "resp_port": pl.UInt16, "protocol": pl.UInt8,
             "label": pl.String, "tool": pl.String, "threat": pl.String, "part": pl.String}  # fmt: skip
    frame = pl.read_csv(path, schema_overrides=types).with_columns(
        pl.col("label", "tool", "threat", "part").fill_null("")
    )
    # Through decimal text, for a 64-bit float cannot hold nanoseconds since 1970.
    micro = [
        (pl.col(name).str.replace(".", "", literal=True).cast(pl.Int64) * 1000)
        .cast(pl.Datetime("ns", "UTC"))
        .alias(name)
        for name in ("start", "end")
    ]
    return frame.with_columns(micro).with_row_index("connection")


def _key(frame: pl.DataFrame) -> pl.DataFrame:
    """Add what two ways of naming a connection share: both ends in one order; ICMP by addresses and kind alone."""
    icmp = pl.col("protocol").is_in([1, 58])
    kind = pl.col("orig_port").replace({0: 8, 14: 13, 16: 15, 18: 17})
    ends = [
        pl.concat_str(
            pl.col(address), pl.when(icmp).then(pl.lit("")).otherwise(pl.col(port).cast(pl.String)), separator="|"
        )
        for address, port in (("originator", "orig_port"), ("responder", "resp_port"))
    ]
    frame = frame.with_columns(_a=ends[0], _b=ends[1], _icmp=pl.when(icmp).then(kind).otherwise(0))
    return frame.with_columns(_low=pl.min_horizontal("_a", "_b"), _high=pl.max_horizontal("_a", "_b")).drop("_a", "_b")


def label_flows(flows: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Add `label`, `part`, `tool` and `connection` to a flow frame, row for row; null where truth knows none such.

    A flow belongs to the connection of the same ends whose time it shares the most of; a flow that the meter cut in
    slices or by an idle time-out stays with its connection.
    """
    keyed = _key(
        flows.select("originator", "responder", "orig_port", "resp_port", "protocol", "first_time", "last_time")
    )
    keyed = keyed.with_row_index("_flow")
    keys = ["_low", "_high", "protocol", "_icmp"]
    known = _key(truth).select(*keys, "start", "end", "label", "part", "tool", "connection")
    slack = pl.duration(milliseconds=int(SLACK_SECONDS * 1000))
    pairs = (
        keyed.join(known, on=keys)
        .filter((pl.col("first_time") <= pl.col("end") + slack) & (pl.col("last_time") >= pl.col("start") - slack))
        .with_columns(
            _away=(pl.col("first_time") - pl.col("start")).abs(),
            _shared=pl.min_horizontal("last_time", "end") - pl.max_horizontal("first_time", "start"),
        )
        .sort(["_flow", "_shared", "_away"], descending=[False, True, False])
        .unique("_flow", keep="first", maintain_order=True)
    )
    best = keyed.select("_flow").join(
        pairs.select("_flow", "label", "part", "tool", "connection"), on="_flow", how="left"
    )
    return flows.hstack(best.sort("_flow").drop("_flow"))


def meter(capture: str | Path) -> pl.DataFrame:
    """All flows of a capture, with kshot's own meter."""
    from kshot.flows import FlowMeter
    from kshot.sources.pcap import CaptureReader

    flow_meter = FlowMeter()
    frames: list[pl.DataFrame] = []
    with CaptureReader(capture) as reader:
        for batch in reader:
            flow_meter.push(batch)
            frames.extend(flow_meter.drain())
    frames.extend(flow_meter.finish())
    return pl.concat(frames).sort("first_time")


def agreement(flows: pl.DataFrame, truth: pl.DataFrame) -> dict[str, int]:
    """How well a labelled flow frame and the truth cover each other; all but `flows` and `connections` should be 0."""
    met = flows["connection"].drop_nulls().unique()
    turned = flows.join(
        truth.select("connection", pl.col("originator").alias("_opener")), on="connection", how="inner"
    ).filter(pl.col("originator") != pl.col("_opener"))
    return {
        "flows": flows.height,
        "connections": truth.height,
        "flows unmatched": flows["label"].null_count(),
        "connections unmatched": truth.height - len(met),
        "flows the other way round": turned.height,
        "flows ambiguous": flows.filter(pl.col("label") == "ambiguous").height,
    }


def main() -> None:
    """label.py FOLDER...: a line of agreement and the labels of each run."""
    for folder in map(Path, sys.argv[1:]):
        truth = read_truth(folder / "truth.csv")
        flows = label_flows(meter(folder / "capture.pcap"), truth)
        words = ", ".join(f"{count} {name}" for name, count in agreement(flows, truth).items())
        print(f"{folder.name}: {words}")
        for label, part, tool, count in flows.group_by("label", "part", "tool").len().sort("len").iter_rows():
            print(f"  {count:7d} {label} {part} {tool}")


if __name__ == "__main__":
    main()
