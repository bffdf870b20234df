"""Threats on a stranger's network: what is rare and of a kind alarms, each by itself."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kshot.errors import ThreatError
from kshot.features import fingerprint
from kshot.records.threats import Threat
from kshot.store import builtin_reference, builtin_threat
from kshot.stream.laboratory import Laboratory
from kshot.stream.metering import Metering
from kshot.stream.pipeline import Records, ScanOptions, scan

NAMES = ("port-scan", "dns-tunnel")


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    """Two built-in threats and half of the reference: enough to learn from, quick to learn."""
    return Laboratory([builtin_threat(name) for name in NAMES], builtin_reference()[0][::2])


@pytest.fixture(scope="module")
def others() -> pl.DataFrame:
    """Benign records that the laboratory has not seen, then shots."""
    shots = [builtin_threat(name).shots[:20] for name in NAMES]
    return pl.concat([builtin_reference()[0][1::20], *shots])


def test_what_was_taught_alarms_and_the_rest_hardly(laboratory: Laboratory, others: pl.DataFrame) -> None:
    sighting = laboratory.bench(others.columns).judge(others)
    alarms = sighting.alarms(0.001)
    assert alarms[-40:].mean() > 0.8
    assert set(sighting.threat[-40:-20][alarms[-40:-20]]) == {"port-scan"}
    assert alarms[:-40].mean() < 0.02


def test_each_record_is_judged_by_itself(laboratory: Laboratory, others: pl.DataFrame) -> None:
    bench = laboratory.bench(others.columns)
    assert laboratory.bench(others.columns) is bench
    rows = np.random.default_rng(0).permutation(others.height)[:60]
    together, few = bench.judge(others), bench.judge(others[rows])
    assert np.array_equal(together.threat[rows], few.threat)
    assert np.allclose(together.p_value[rows], few.p_value)


def test_a_record_without_a_past_is_judged_by_what_it_tells(laboratory: Laboratory, others: pl.DataFrame) -> None:
    tunnel = others[-20:]
    lone = tunnel.with_columns(
        pl.lit(None, tunnel.schema[name]).alias(name)
        for name in tunnel.columns
        if name.startswith(("orig_", "resp_")) and name.endswith(("_100", "_10s", "_2s", "_60s"))
    )
    assert laboratory.bench(others.columns).judge(lone).alarms(0.001).mean() > 0.5


def test_what_is_of_no_kind_with_the_examples_is_silent(laboratory: Laboratory, others: pl.DataFrame) -> None:
    scans = others[-40:-20]
    strange = scans.with_columns(pl.lit("quic", scans.schema["service"]).alias("service"))
    sighting = laboratory.bench(others.columns).judge(strange)
    assert not sighting.alarms(0.001)[sighting.threat == "port-scan"].any()


def test_a_name_is_borne_by_what_is_of_its_kind_only(laboratory: Laboratory, others: pl.DataFrame) -> None:
    for name in NAMES:
        shots = builtin_threat(name).shots[20:60]
        sighting = laboratory.bench(others.columns).judge(shots)
        assert set(sighting.threat) == {name}
        assert sighting.alarms(0.001).mean() > 0.8


def _records(features: pl.DataFrame) -> Records:
    frame = pl.DataFrame({"originator": ["10.0.0.1"] * features.height, "responder": ["10.0.0.2"] * features.height})
    return Records("flow", frame, features, Metering())


def test_a_threat_of_ones_own_goes_before_the_built_in_one(laboratory: Laboratory, others: pl.DataFrame) -> None:
    own = Threat("dns-tunnel", builtin_threat("port-scan").shots[20:60], "flow", fingerprint())
    result = scan(_records(others[-40:-20]), [own], laboratory=Laboratory(laboratory.threats[1:], laboratory.reference))
    assert set(result.alerts["threat"]) == {"dns-tunnel"}
    assert (result.calibrated, result.is_ranking) == ("none", False)


def test_with_a_reference_built_in_threats_are_calibrated_on_it(laboratory: Laboratory, others: pl.DataFrame) -> None:
    benign = _records(builtin_reference()[0][::4])
    result = scan(_records(others), [], laboratory=laboratory, reference=benign)
    assert result.calibrated == "site"
    assert result.verdicts["p_value"].null_count() == 0
    assert set(result.verdicts["threat"]) <= {*NAMES}


def test_few_records_are_judged_by_the_laboratory_not_ranked(laboratory: Laboratory, others: pl.DataFrame) -> None:
    result = scan(_records(others[-30:-10]), [], laboratory=laboratory)
    assert not result.is_ranking
    assert result.alerts["calibrated"].to_list() == ["none"] * result.alerts.height
    assert result.alerts.height
    assert result.alerts["p_value"].null_count() == result.alerts.height
    assert any("laboratory" in note for note in result.notes)


def test_ones_own_threat_alone_is_told_of_in_few_records(laboratory: Laboratory, others: pl.DataFrame) -> None:
    own = Threat("mine", builtin_threat("port-scan").shots[20:60], "flow", fingerprint())
    few = _records(pl.concat([others[:12], others[-40:-25]]))
    alone = scan(few, [own])
    assert alone.is_ranking
    told = scan(few, [own], laboratory=Laboratory([], laboratory.reference))
    assert (told.is_ranking, told.calibrated, set(told.alerts["threat"])) == (False, "none", {"mine"})
    alarm = told.verdicts["alarm"].to_numpy()
    assert alarm[12:].mean() > 0.8 and not alarm[:12].any()
    assert told.notes == [
        "so few records are measured on kshot's laboratory, not on your network: no false-alarm rate is promised; "
        "give --reference FILE of quiet traffic"
    ]


def test_without_any_threat_the_laboratory_has_nothing_to_say(laboratory: Laboratory, others: pl.DataFrame) -> None:
    empty = Laboratory([], laboratory.reference)
    with pytest.raises(ThreatError, match="no threat has been taught"):
        scan(_records(others), [], laboratory=empty)
    unknown = scan(_records(others[:12]), [], laboratory=empty, options=ScanOptions(unknown=True))
    assert unknown.is_ranking
    stranger = Threat("stranger", pl.DataFrame({"size": [1.0]}), "table", "of a table")
    with pytest.raises(ThreatError, match="no threat fits this input"):
        scan(_records(others), [stranger], laboratory=empty)


def test_many_records_calibrate_themselves_with_the_laboratory_as_witness(
    laboratory: Laboratory, others: pl.DataFrame
) -> None:
    own = Threat("mine", builtin_threat("port-scan").shots[20:60], "flow", fingerprint())
    told = scan(_records(others[:-20]), [own], laboratory=Laboratory([], laboratory.reference))
    assert told.calibrated == "capture"
    assert not any("laboratory" in note for note in told.notes)
    assert told.verdicts["alarm"].to_numpy()[-20:].mean() > 0.8
