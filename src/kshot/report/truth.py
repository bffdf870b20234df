"""Ground truth beside a capture: which flows are attacks, and how a scan fared against it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.errors import InputError
from kshot.report.contents import Tally

_KEYS = ["originator", "orig_port", "responder", "resp_port", "protocol"]
_TYPES = {
    "first_time": pl.String(), "originator": pl.String(), "orig_port": pl.UInt16(), "responder": pl.String(),
    "resp_port": pl.UInt16(), "protocol": pl.UInt8(), "threat": pl.String(), "tool": pl.String(), "part": pl.String(),
}  # fmt: skip
_TOLERANCE = "5ms"
"""How far apart the beginnings of a flow and of its row may be, against another use of the same ports."""


def read_truth(path: Path) -> pl.DataFrame:
    """Read a truth CSV: a row for every flow that is no benign one, `first_time` in ISO 8601.

    `part` is "attack" for what the attacker opened, anything else for what came along with it (victims' answers), which
    counts neither as an attack nor as benign.

    Raises:
        InputError: not such a file.
    """
    try:
        frame = pl.read_csv(path, schema_overrides=_TYPES).select(*_TYPES)
        return frame.with_columns(pl.col("first_time").str.to_datetime(time_unit="ns", time_zone="UTC"))
    except (OSError, pl.exceptions.PolarsError) as error:
        why = str(error).strip().split("\n", 1)[0]
        raise InputError(str(path), f"is no ground truth ({why})", f"it needs columns {', '.join(_TYPES)}") from error


def truth_of(flows: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Return `threat`, `tool` and `part` of each flow, row for row; all "" for benign ones.

    Parameters:
        flows: FLOW_SCHEMA.
        truth: as `read_truth` gives it.
    """
    told = truth.select(*_KEYS, "first_time", "threat", "tool", "part").sort("first_time")
    asked = flows.select(*_KEYS, "first_time").with_row_index("kshot.at").sort("first_time")
    joined = asked.join_asof(
        told, on="first_time", by=_KEYS, strategy="nearest", tolerance=_TOLERANCE, check_sortedness=False
    )
    return joined.sort("kshot.at").select(pl.col("threat", "tool", "part").fill_null(""))


def tallies(
    truth: pl.DataFrame, alarm: NDArray[np.bool_], names: pl.Series, before: NDArray[np.bool_] | None = None
) -> list[Tally]:
    """Count each threat's and the benign flows' alarms.

    Parameters:
        truth: (n) as `truth_of` gives it.
        alarm, before: (n,) what alarmed, now and before the new threat was taught.
        names: (n) which threat each record is most like.

    Returns the threats with most flows first, then one Tally of benign flows.
    """
    was = np.zeros(len(alarm), bool) if before is None else before
    table = truth.with_columns(pl.Series("alarm", alarm), names.alias("name"), pl.Series("before", was))

    def count(threat: str, part: pl.DataFrame) -> Tally:
        return Tally(
            threat,
            tuple(sorted(tool for tool in part["tool"].unique() if tool)),
            part.height,
            int(part["alarm"].sum()),
            int((part["alarm"] & (part["name"] == threat)).sum()),
            None if before is None else int(part["before"].sum()),
        )

    attacks = table.filter(pl.col("part") == "attack").partition_by("threat", maintain_order=True)
    rows = [count(part["threat"][0], part) for part in attacks]
    rows.sort(key=lambda row: -row.flows)
    return [*rows, count("", table.filter(pl.col("threat") == ""))]
