"""One row's case: how far out, unlike what, and the fewest columns that keep it from alarming."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kshot import FewShotClassifier
from kshot.detection.counterfactual import Alarms, find_counterfactual

NAMES = [*"abcdefghijkl"]


def _alarms_when(columns: frozenset[int], least: int) -> Alarms:
    """Alarm where at least so many of the columns hold a 1; nothing shows until enough of them are gone."""

    def alarms(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        on = rows.select(NAMES[j] for j in sorted(columns)).to_numpy().sum(1)
        return np.where(on >= least, 9.0, 0.0), on >= least

    return alarms


@given(st.frozensets(st.integers(0, 11), min_size=1, max_size=12), st.data())
def test_the_changes_suffice_and_none_is_idle(columns: frozenset[int], data: st.DataObject) -> None:
    least = data.draw(st.integers(1, len(columns)))
    row, benign = (pl.DataFrame([[value] * 12], schema=NAMES, orient="row") for value in (1.0, 0.0))
    alarms = _alarms_when(columns, least)
    found = find_counterfactual(row, benign, alarms)
    assert found is not None
    names = {change.column for change in found.changes}
    assert names <= {NAMES[j] for j in columns}
    assert len(names) == len(columns) - least + 1
    assert all((change.value, change.instead) == (1.0, 0.0) for change in found.changes)


def test_what_does_not_alarm_needs_no_change_and_what_has_no_benign_row_has_none() -> None:
    ones, noughts = (pl.DataFrame([[value] * 12], schema=NAMES, orient="row") for value in (1.0, 0.0))
    alarms = _alarms_when(frozenset([0]), 1)
    quiet = find_counterfactual(noughts, ones, alarms)
    assert quiet is not None
    assert quiet.changes == ()
    assert find_counterfactual(ones, ones, alarms) is None
    assert find_counterfactual(ones, ones[:0], alarms) is None
    second = find_counterfactual(ones, pl.concat([ones, noughts]), alarms)
    assert second is not None
    assert (second.benign_row, len(second.changes)) == (1, 1)


@pytest.fixture(scope="module")
def fitted() -> tuple[FewShotClassifier, pl.DataFrame]:
    rng = np.random.default_rng(0)

    def rows(n: int, shift: float) -> pl.DataFrame:
        values = rng.normal(size=(n, 5))
        values[:, :2] += shift
        values[rng.uniform(size=values.shape) < 0.01] = np.nan
        return pl.DataFrame(values, schema=NAMES[:5]).with_columns(way=pl.Series(rng.choice(["in", "out"], n)))

    X = pl.concat([rows(1_500, 0.0), rows(4, 5.0)])
    model = FewShotClassifier(random_state=0, n_trees=300).fit(X, ["benign"] * 1_500 + ["odd"] * 4)
    return model, pl.concat([rows(2, 5.0), rows(2, 0.0)])


def test_a_row_is_explained_against_its_neighbours(fitted: tuple[FewShotClassifier, pl.DataFrame]) -> None:
    model, queries = fitted
    alarming, _, benign, _ = model.explain(queries, counterfactual=True)
    assert alarming.threat == "odd"
    assert alarming.p_value <= 0.01
    assert alarming.measured_on == 1_500
    loudest = alarming.reasons[0]
    assert loudest.column in {"a", "b"}
    assert loudest.robust_z > 3
    assert loudest.beyond < 0.01
    assert set(alarming.differences) == {*alarming.nearest_shots, *alarming.nearest_benign}
    apart = alarming.differences[alarming.nearest_benign[0]]
    assert {one.column for one in apart} & {"a", "b"}
    assert apart[0].apart >= apart[1].apart > 1
    changes = alarming.counterfactual
    assert changes is not None
    assert 1 <= len(changes.changes) <= 3
    assert changes.benign_row < 1_500
    moved = queries[:1].with_columns(pl.lit(change.instead).alias(change.column) for change in changes.changes)
    assert model.predict(moved).tolist() == ["benign"]
    assert benign.counterfactual is not None
    assert benign.counterfactual.changes == ()
    assert model.explain(queries[:1])[0].counterfactual is None


def test_the_estimator_distils(fitted: tuple[FewShotClassifier, pl.DataFrame]) -> None:
    model, queries = fitted
    small = model.distill()
    passes = small.passes(small.scores(small.read(queries)))
    assert passes[:2].all()
    assert 0.01 <= small.share <= 0.12
    assert np.array_equal(small.value, model.distill().value)
