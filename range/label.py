"""Join flows to a run's ground truth; `python range/label.py RUN-FOLDER` says how well they agree."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from kshot.datasets.truth import label_flows
from kshot.datasets.truth import read_connections as read_truth

__all__ = ["agreement", "label_flows", "meter", "read_truth"]


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
