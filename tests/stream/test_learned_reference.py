"""A reference learned from traffic with an attack in it: the attack stays out, benign records stay in."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.traffic import Traffic, Tunnel, office, tunnel

from kshot.errors import UserError
from kshot.records.kept import KeptAlert
from kshot.records.threats import Threat
from kshot.store import builtin_reference, builtin_threat
from kshot.stream.laboratory import Laboratory
from kshot.stream.learned_reference import as_kept, learn_reference
from kshot.stream.metering import MeterOptions
from kshot.stream.pipeline import Records, read_records

DAY = 1_772_438_400.0
HIDDEN = Tunnel("10.20.1.33", "198.51.100.8", "x1.example.net", 10, (110, 180), (100, 300), (20, 70), 0.1, 15)
ALERT = KeptAlert(
    id=1, threat="dns-tunnel", originator="10.20.1.33", responder="198.51.100.8", first_nanoseconds=0,
    last_nanoseconds=round((DAY + 90_000) * 1e9), flows=3, score=7.25, p_value=None, calibrated="none", attack=(),
    reasons=(), record=17, is_open=True, fingerprint="f",
)  # fmt: skip


@pytest.fixture(scope="module")
def laboratory() -> Laboratory:
    return Laboratory([builtin_threat("dns-tunnel")], builtin_reference()[0])


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    traffic = Traffic(Random(3))
    office(traffic, DAY, 1_200.0, 400)
    tunnel(traffic, DAY, 600.0, HIDDEN)
    path = tmp_path_factory.mktemp("captures") / "day.pcap"
    traffic.write(path)
    return read_records([path], MeterOptions())


def own(records: Records) -> Threat:
    """The tunnel as its victim would teach it: three flows of it."""
    shots = records.features.filter((records.frame["responder"] == "198.51.100.8").to_frame().to_series())[:3]
    return replace(builtin_threat("dns-tunnel"), name="our-tunnel", shots=shots)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.slow  # learns what the laboratory is like
def test_a_hidden_attack_stays_out_and_the_rest_stays_in(records: Records, laboratory: Laboratory) -> None:
    attacks = int((records.frame["responder"] == "198.51.100.8").sum())
    assert attacks >= 10
    learned = learn_reference(records, [own(records)], laboratory, rng())
    left = int((learned.records.frame["responder"] == "198.51.100.8").sum())
    assert left <= 0.2 * attacks
    assert learned.taken_for_attacks >= attacks - left
    benign = len(records) - attacks
    assert len(learned.records) - left >= 0.97 * benign
    assert learned.seen == len(records)
    assert learned.of_alerts == 0


def test_nothing_of_an_alert_is_learned(records: Records) -> None:
    learned = learn_reference(records, [], None, rng(), alerts=[ALERT])
    between = (records.frame["originator"] == ALERT.originator) & (records.frame["responder"] == ALERT.responder)
    assert learned.of_alerts == between.sum() > 0
    assert len(learned.records) == len(records) - learned.of_alerts
    over = replace(ALERT, last_nanoseconds=round((DAY - 86_400) * 1e9))
    assert learn_reference(records, [], None, rng(), alerts=[over]).of_alerts == 0, "it was over by then"


def test_only_the_last_days_count(records: Records) -> None:
    learned = learn_reference(records, [], None, rng(), days=300 / 86_400)
    ends = records.frame["last_time"].cast(pl.Int64)
    assert len(learned.records) == (ends >= int(ends.max()) - 300 * 10**9).sum() < len(records)  # type: ignore[arg-type]


def test_the_reservoir_goes_on(records: Records) -> None:
    half = len(records) // 2
    first, second = (
        Records("flow", records.frame[at], records.features[at]) for at in (slice(half), slice(half, None))
    )
    share = []
    for seed in range(12):
        before = learn_reference(first, [], None, rng(seed), most=100)
        assert (len(before.records), before.seen) == (100, half)
        both = learn_reference(second, [], None, rng(seed + 50), before=before, most=100)
        assert (len(both.records), both.seen) == (100, len(records))
        border = second.frame["last_time"].min()
        share.append((both.records.frame["last_time"] >= border).mean())
    assert 0.4 < np.mean([one for one in share if one is not None]) < 0.6
    assert "log_http_uri" not in as_kept(records).columns


def test_what_is_no_flow_is_refused(records: Records) -> None:
    with pytest.raises(UserError, match="is of flows"):
        learn_reference(Records("table", records.frame, records.frame), [], None, rng())
    with pytest.raises(UserError, match="nothing is left"):
        every = replace(ALERT, first_nanoseconds=0)
        pairs = records.frame.select("originator", "responder").unique().rows()
        learn_reference(records, [], None, rng(), alerts=[replace(every, originator=a, responder=b) for a, b in pairs])
