"""judge_all without a reference: what the laboratory says of flows is heard."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from kshot.records.threats import Threat
from kshot.stream.judging import judge_all


class _Laboratory:
    """Holds the records whose `a` is large for an attack."""

    def __init__(self) -> None:
        self.asked = 0

    def sighting(self, features: pl.DataFrame, own: Any, random_state: int) -> Any:
        self.asked += 1
        return type("Sighting", (), {"p_value": np.where(features["a"].to_numpy() > 3.0, 1e-4, 0.5)})


@pytest.mark.parametrize(("kind", "asked"), [("flow", 1), ("table", 0)])
def test_the_laboratory_is_asked_about_flows_only(kind: str, asked: int) -> None:
    rng = np.random.default_rng(0)

    def frame(n: int, shift: float, flag: bool) -> pl.DataFrame:
        numbers = pl.DataFrame(rng.normal(shift, 1.0, (n, 4)), schema=list("abcd"))
        return numbers.with_columns(flag=pl.lit(flag))

    # The second group is where the shots are, but with a flag that none of them has.
    queries = pl.concat([frame(1_400, 0.0, False), frame(12, 6.0, True), frame(12, 6.0, False)])
    threat = Threat("x", frame(4, 6.0, True), kind, "")
    laboratory = _Laboratory()
    judged = judge_all([[threat]], queries, None, unknown=False, random_state=0, laboratory=laboratory)  # type: ignore[arg-type]
    assert laboratory.asked == asked
    assert judged.calibrated == "capture"
    if kind == "flow":
        assert judged.kept_out == pytest.approx(12 / 1_424, abs=0.001)
        assert judged.alarms(0.01)[1_400:1_412].mean() > 0.9
