"""Drift is told when traffic leaves the calibration, the budget follows it, the reservoir forgets."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.stream.alert_budget import HOUR, AlertBudget
from kshot.stream.budget import GroupSizes
from kshot.stream.drift import Drift
from kshot.stream.reservoir import Reservoir, packed
from kshot.stream.standing import Verdicts
from kshot.stream.steering import Steering

SIZES = GroupSizes(np.array([1.0, 20.0]), np.array([8_000.0, 100.0]), 86_400.0)


def hour(drift: Drift, p_values: np.ndarray, pairs: int) -> bool:
    numbers = np.arange(len(p_values)) % pairs
    drift.take(p_values, numbers.astype(np.uint64) * np.uint64(2_654_435_761))
    return drift.hour_over()


def test_no_drift_is_told_while_p_values_are_uniform() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drift = Drift()
        assert not any(hour(drift, rng.random(500), 200) for _ in range(300))


@pytest.mark.parametrize(("power", "direction"), [(3.0, "louder"), (0.2, "quieter")])
def test_drift_is_told_and_its_end(power: float, direction: str) -> None:
    rng = np.random.default_rng(0)
    drift = Drift()
    told = [hour(drift, rng.random(500) ** power, 200) for _ in range(20)]
    assert told.count(True) == 1 and drift.is_told and drift.direction == direction
    again = Drift(json.loads(json.dumps(drift.state())))
    over = [hour(again, rng.random(500), 200) for _ in range(50)]
    assert over.count(True) == 1 and not again.is_told


def test_a_burst_between_one_pair_is_no_drift() -> None:
    drift = Drift()
    assert not hour(drift, np.full(5_000, 0.0005), 1)
    assert not hour(drift, np.full(5_000, np.nan), 300)


def week(budget: AlertBudget, rng: np.random.Generator, scale: Sequence[float], attacks: int = 0) -> list[int]:
    """Alerts delivered a day, of 1,000 lone records an hour whose -ln p is `scale` times what it should be."""
    delivered = []
    hour = 400_000
    for factor in scale:
        count = 0
        for _ in range(24):
            hour += 1
            budget.hour_over(hour)
            loud = rng.exponential(factor, 1_000)
            rows = [
                (float(one), "t", f"h{hour}.{at}", "r", hour * HOUR + at, hour * HOUR + at)
                for at, one in enumerate(loud)
                if one >= budget.quietest
            ]
            rows += [(60.0, "t", "attacker", f"r{hour}.{at}", hour * HOUR, hour * HOUR) for at in range(attacks)]
            budget.take(rows)
            count += sum(one[0] >= budget.threshold for one in rows if one[2] != "attacker")
        delivered.append(count)
    return delivered


@pytest.mark.parametrize("state", [False, True])
def test_the_budget_is_held_while_traffic_gets_louder(state: bool) -> None:
    sizes = GroupSizes(np.array([1.0]), np.array([24_000.0]), 86_400.0)
    budget = AlertBudget(50, sizes.alerts_a_day)
    assert math.exp(-budget.threshold) == pytest.approx(50 / 24_000, rel=0.01)
    days = week(budget, np.random.default_rng(1), [1.0, 1.0, 1.2, 1.4, 1.4, 1.0, 1.0])
    assert 0.7 * 50 <= np.mean(days) <= 1.5 * 50
    assert max(days[:2]) <= 75 and days[4] <= 75
    if state:
        again = AlertBudget(50, sizes.alerts_a_day, json.loads(json.dumps(budget.state())))
        assert again.state() == json.loads(json.dumps(budget.state())) | {"hours": budget.state()["hours"]}
        assert again.threshold == budget.threshold


def test_one_originator_does_not_use_the_budget_up() -> None:
    sizes = GroupSizes(np.array([1.0]), np.array([24_000.0]), 86_400.0)
    budget = AlertBudget(50, sizes.alerts_a_day)
    days = week(budget, np.random.default_rng(1), [1.0, 1.0], attacks=0)
    scanned = AlertBudget(50, sizes.alerts_a_day)
    rng = np.random.default_rng(1)
    assert week(scanned, rng, [1.0], attacks=0)
    hour = scanned.state()["hour"]
    scanned.take([(60.0, "t", "attacker", f"r{at}", hour * HOUR, hour * HOUR) for at in range(500)])
    scanned.hour_over(hour + 1)
    assert scanned.threshold <= budget.threshold + 0.5
    assert len(days) == 2


def test_a_reference_tells_what_a_day_brings() -> None:
    assert SIZES.alerts_a_day(SIZES.rate_for(50)) == pytest.approx(50)
    assert SIZES.records_an_hour == pytest.approx(10_000 / 24)
    again = GroupSizes.heard(json.loads(json.dumps(SIZES.told())))
    assert again.alerts_a_day(0.01) == SIZES.alerts_a_day(0.01)


@settings(max_examples=6, deadline=None)
@given(cuts=st.lists(st.integers(1, 2_999), max_size=4))
def test_the_reservoir_is_the_same_however_batches_fall(cuts: list[int]) -> None:
    features = pl.DataFrame({"x": np.arange(3_000.0)})
    times = np.arange(3_000, dtype=np.int64) * HOUR

    def grown(at: list[int]) -> Reservoir:
        reservoir = Reservoir(most=300)
        parts = []
        for begin, end in zip([0, *at], [*at, 3_000], strict=True):
            rows = reservoir.wanted(begin + 1, end - begin)
            parts.append(
                packed(reservoir.take(features[begin:end][rows.tolist()], times[begin:end][rows], rows + begin + 1))
            )
        again = Reservoir(most=300)
        again.restore(parts)
        assert again.whole() == reservoir.whole()
        return reservoir

    whole = grown([])
    assert whole.stride >= 4 and 150 <= len(whole) <= 600
    assert grown(sorted(set(cuts))).whole() == whole.whole()
    kept = whole.recent(3_000 * HOUR)["x"]
    assert (kept > 2_900).sum() > 3 * ((kept > 2_700) & (kept < 2_800)).sum(), "a day older, half as likely"
    whole.forget(3_000 * HOUR)
    assert 0 < len(whole) < 60


class Scripted:
    """A detector whose loudness stands in the records."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def judge(self, features: pl.DataFrame) -> Verdicts:
        loud = features["x"].to_numpy() * self.factor
        p_value = np.exp(-loud)
        threat = np.full(len(loud), "t", dtype=object)
        harmless = np.zeros(len(loud), bool)
        return Verdicts(threat, loud, p_value, p_value <= 0.001, 0, lambda rows: [[] for _ in rows], harmless, loud)


def replay(
    steering: Steering, hours: range, rng: np.random.Generator, drifted: int, step: int
) -> list[tuple[int, int]]:
    """Alarms an hour; from hour `drifted` on everything is three times as loud until the detector is fitted anew."""
    alarms = []
    row, watermark = 1, 0
    for hour in hours:
        count = 600
        frame = pl.DataFrame(
            {
                "originator": [f"h{hour}.{at}" for at in range(count)], "responder": ["r"] * count,
                "first_time": range(hour * HOUR, hour * HOUR + count),
                "last_time": range(hour * HOUR, hour * HOUR + count),
            }
        ).with_columns(pl.col("first_time", "last_time").cast(pl.Datetime("ns", "UTC")))  # fmt: skip
        features = pl.DataFrame({"x": rng.exponential(1.0, count)})
        found = 0
        for at in range(0, count, step):
            part, told = frame[at : at + step], features[at : at + step]
            firsts = part["first_time"].cast(pl.Int64).to_numpy()
            for begin, end, when in steering.stretches(firsts, watermark):
                steering.begin(when)
                factor = 3.0 if when >= drifted and steering.refits == 0 else 1.0
                verdicts = steering.steer(Scripted(factor).judge(told[begin:end]), part[begin:end])
                steering.learn(told[begin:end], part[begin:end], row, verdicts, {("h5.3", "r")})
                row += end - begin
                found += int(verdicts.alarm.sum())
            watermark = max(watermark, int(firsts.max()))
        alarms.append((hour, found))
    return alarms


def test_steering_tells_drift_fits_anew_and_holds_the_budget() -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    sizes = GroupSizes(np.array([1.0]), np.array([14_400.0]), 86_400.0)

    def made() -> Steering:
        return Steering(lambda event, **facts: told.append((event, facts)), alerts_a_day=50, sizes=sizes)

    steering = made()
    alarms = replay(steering, range(400_000, 400_060), np.random.default_rng(2), 400_036, 1_000)
    assert [event for event, _ in told] == ["drift", "recalibrated"]
    assert steering.refits == 1 and steering.fresh is not None and steering.fresh.height >= 1_000
    assert steering.stats()["recalibrations"] == 1 and steering.stats()["drift"] == 0
    quiet = [count for hour, count in alarms if hour < 400_036 or hour > 400_045]
    assert 0.6 * 50 <= np.mean(quiet) * 24 <= 1.4 * 50
    again = made()
    replay(again, range(400_000, 400_060), np.random.default_rng(2), 400_036, 177)
    taken, standing = steering.left()
    assert again.left()[1] == standing and again.left()[0] == taken, "however records fall into batches"
    restored = made()
    assert standing is not None
    restored.restore(json.loads(json.dumps(steering.state())), standing, [steering.reservoir.whole()])
    assert restored.fresh is not None and restored.fresh.equals(steering.fresh)
    assert restored.reservoir.whole() == steering.reservoir.whole()
    steering.written()
    assert steering.left() == (b"", None)


def test_without_a_budget_drift_is_told_and_nothing_else_changes() -> None:
    told: list[str] = []
    steering = Steering(lambda event, **facts: told.append(event))
    replay(steering, range(400_000, 400_010), np.random.default_rng(2), 400_005, 1_000)
    assert told == ["drift"] and len(steering.reservoir) == 0
    assert "alarm_rate" not in steering.stats()
