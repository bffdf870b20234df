"""What stands behind an alert: its own values, beside those of real shots and benign records."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kshot.records.threats import Threat
from kshot.report.contents import YES_OR_NO, Evidence
from kshot.report.evidence import Exhibit, gather_evidence

RNG = np.random.default_rng(0)
BENIGN = pl.DataFrame({"size": RNG.normal(100, 10, 500), "gap": RNG.normal(5, 1, 500), "tls": RNG.random(500) < 0.3})
SHOTS = pl.DataFrame({"size": [400.0, 410.0, 420.0], "gap": [5.0, 5.5, 4.5], "tls": [True, True, True]})
OTHER = pl.DataFrame({"size": [20.0, 21.0], "gap": [5.0, 5.0], "tls": [False, False]})


@pytest.fixture(scope="module")
def told() -> list[Evidence]:
    threats = [Threat("leak", SHOTS, "table", ""), Threat("ping", OTHER, "table", "")]
    rows = pl.DataFrame({"size": [405.0, 20.5], "gap": [5.1, 5.2], "tls": [True, False]})
    return gather_evidence(threats, rows, BENIGN, [Exhibit("a → b", None), Exhibit("c → d", None)])


def test_the_loudest_feature_comes_first_with_its_place_in_the_reference(told: list[Evidence]) -> None:
    size = told[0].features[0]
    assert (size.name, size.value, size.percentile) == ("size", 405.0, 100.0)
    assert told[1].features[0].percentile == 0.0


def test_neighbours_are_the_threats_own_shots_and_benign_records(told: list[Evidence]) -> None:
    for evidence, shots in zip(told, (SHOTS, OTHER), strict=True):
        size = next(feature for feature in evidence.features if feature.name == "size")
        assert set(size.shots) == set(shots["size"])
        assert set(size.benign) <= set(BENIGN["size"]) and len(size.benign) == 3
        for value, percentile in zip(size.benign, size.benign_percentiles, strict=True):
            below = float((BENIGN["size"] < value).mean()) * 100.0  # type: ignore[arg-type]
            assert percentile == pytest.approx(below + 0.1, abs=0.01)


def test_yes_and_no_are_not_numbers(told: list[Evidence]) -> None:
    units = {feature.name: feature.unit for feature in told[0].features}
    assert all(unit == YES_OR_NO for name, unit in units.items() if name.startswith("tls"))
    assert units["size"] != YES_OR_NO
