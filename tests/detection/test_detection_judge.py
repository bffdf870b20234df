"""judge: p-values from a reference, and from the capture itself with the attack inside it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kshot.detection import Evidence, Witness, judge
from kshot.errors import UserError

NAMES = list("abcdef")


def _frame(rng: np.random.Generator, n: int, shift: float) -> pl.DataFrame:
    return pl.DataFrame(rng.normal(shift, 1.0, size=(n, len(NAMES))), schema=NAMES)


def test_false_alarms_with_a_reference_are_as_promised() -> None:
    rng = np.random.default_rng(0)
    found = []
    for seed in range(6):
        reference, shots = _frame(rng, 3_000, 0.0), _frame(rng, 3, 2.5)
        verdicts = judge({"x": shots}, _frame(rng, 5_000, 0.0), reference=reference, unknown=True, random_state=seed)
        found.append(verdicts.alarms(0.01).mean())
        assert verdicts.calibrated == "site"
    assert 0.006 < np.mean(found) < 0.014


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_capture_with_the_attack_in_it_calibrates_itself(share: float) -> None:
    rng = np.random.default_rng(1)
    n = 1_500
    attacks = int(share * n)
    queries = pl.concat([_frame(rng, n - attacks, 0.0), _frame(rng, attacks, 5.0)])
    verdicts = judge({"x": _frame(rng, 3, 5.0)}, queries, reference=None)
    alarms = verdicts.alarms(0.01)
    assert verdicts.calibrated == "capture"
    assert alarms[: n - attacks].mean() < 0.03
    assert alarms[n - attacks :].mean() > 0.8


def test_too_few_records_give_a_rank_and_no_p_value() -> None:
    rng = np.random.default_rng(2)
    verdicts = judge({"x": _frame(rng, 2, 6.0)}, pl.concat([_frame(rng, 9, 0.0), _frame(rng, 1, 6.0)]), reference=None)
    assert verdicts.calibrated == "none"
    assert np.isnan(verdicts.p_value).all()
    assert not verdicts.alarms(0.5).any()
    assert np.argmax(verdicts.score) == 9


def test_the_poorer_of_two_inputs_decides_on_the_columns() -> None:
    rng = np.random.default_rng(3)
    shots = _frame(rng, 3, 5.0).with_columns(extra=pl.lit(1))
    verdicts = judge({"x": shots}, _frame(rng, 10, 5.0), reference=_frame(rng, 300, 0.0))
    assert verdicts.alarms(0.01).mean() > 0.8
    reasons = verdicts.explain([0, 3], top=2)
    assert [len(r) for r in reasons] == [2, 2]
    assert all("as the shots" in line for line in reasons[0])


def test_two_threats_are_told_apart() -> None:
    rng = np.random.default_rng(4)
    threats = {"up": _frame(rng, 3, 5.0), "down": _frame(rng, 3, -5.0)}
    queries = pl.concat([_frame(rng, 10, 5.0), _frame(rng, 10, -5.0)])
    verdicts = judge(threats, queries, reference=_frame(rng, 300, 0.0))
    assert verdicts.threat == ["up"] * 10 + ["down"] * 10


def test_nothing_to_look_for_is_refused() -> None:
    with pytest.raises(UserError, match="there is none to look for"):
        judge({}, pl.DataFrame({"a": [1.0]}), reference=None)


def test_a_service_like_the_shots_is_kept_out_only_where_the_witness_agrees() -> None:
    rng = np.random.default_rng(5)
    queries = pl.concat([_frame(rng, 1_950, 0.0), _frame(rng, 50, 5.0)])
    shots = {"x": _frame(rng, 3, 5.0)}

    def says(elsewhere: float) -> Witness:
        return lambda rows: Evidence(np.ones((len(rows), 1), bool), np.full(len(rows), elsewhere))

    innocent = judge(shots, queries, reference=None, witness=says(0.5))
    assert innocent.kept_out == 0.0
    assert innocent.alarms(0.01).mean() < 0.02
    guilty = judge(shots, queries, reference=None, witness=lambda rows: _only(rows, 1_950))
    assert guilty.kept_out == pytest.approx(50 / 2_000, abs=0.002)
    assert guilty.alarms(0.01)[1_950:].mean() > 0.9
    other_kind = judge(shots, queries, reference=None, witness=lambda rows: Evidence(np.zeros((len(rows), 1), bool)))
    assert other_kind.kept_out == 0.0


def _only(rows: np.ndarray, first: int) -> Evidence:
    return Evidence(np.ones((len(rows), 1), bool), np.where(rows >= first, 1e-4, 0.5))


def test_many_suspects_are_kept_out_though_they_do_not_stand_apart() -> None:
    rng = np.random.default_rng(6)
    queries, shots = _frame(rng, 2_000, 0.0), {"x": _frame(rng, 3, 0.0)}

    def says(count: int) -> Witness:
        return lambda rows: Evidence(np.ones((len(rows), 1), bool), np.where(rows < count, 5e-4, 0.5))

    assert judge(shots, queries, reference=None, witness=says(20)).kept_out == 0.0
    assert judge(shots, queries, reference=None, witness=says(100)).kept_out == pytest.approx(0.05)


@pytest.mark.parametrize("seed", range(3))
def test_a_capture_without_the_attack_keeps_the_promise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # A service near the shots, as benign ones are: nothing but its place tells it from an attack.
    queries = pl.concat([_frame(rng, 3_600, 0.0), _frame(rng, 400, 1.5)])
    verdicts = judge({"x": _frame(rng, 3, 3.0)}, queries, reference=None, random_state=seed)
    assert verdicts.alarms(0.01).mean() < 0.02
