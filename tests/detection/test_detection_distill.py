"""Distilled trees: what they let pass, what they lose, and that no promise breaks by them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kshot.detection.distill import Distilled, distill
from kshot.detection.frames import BadInputError
from kshot.detection.panel import Panel

NAMES = [*"abcdefgh", "kind"]


def _rows(rng: np.random.Generator, n: int, shift: float) -> pl.DataFrame:
    values = rng.normal(0.0, 1.0, size=(n, 8))
    values[:, :3] += shift
    values[rng.uniform(size=values.shape) < 0.02] = np.nan
    kinds = rng.choice(["x", "y", "z"], n)
    return pl.DataFrame(values, schema=NAMES[:-1]).with_columns(kind=pl.Series(kinds))


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(0)
    threats = {"up": _rows(rng, 5, 5.0), "down": _rows(rng, 1, -5.0)}
    return Panel.fit(threats, _rows(rng, 8_000, 0.0), NAMES, rng)


@pytest.fixture(scope="module")
def screen(panel: Panel) -> Distilled:
    return distill(panel.detector, np.random.default_rng(1))


def test_few_benign_rows_pass_and_attacks_do(screen: Distilled) -> None:
    rng = np.random.default_rng(2)
    benign, attack = (screen.passes(screen.scores(screen.read(_rows(rng, 4_000, shift)))) for shift in (0.0, 5.0))
    assert 0.7 * screen.share < benign.mean() < 1.3 * screen.share
    assert attack.mean() > 0.99
    assert screen.share <= 0.1
    assert screen.kept > 0.95
    assert screen.measured_on > 500


def test_it_sees_each_row_by_itself(screen: Distilled) -> None:
    rows = screen.read(_rows(np.random.default_rng(3), 203, 2.0))
    together = screen.scores(rows)
    assert together.dtype == np.float32
    assert np.array_equal(together, np.concatenate([screen.scores(row[None]) for row in rows]))
    assert not len(screen.scores(rows[:0]))


def test_its_p_values_are_the_ranks_of_rows_it_was_not_grown_on(screen: Distilled) -> None:
    scores = screen.scores(screen.read(_rows(np.random.default_rng(4), 4_000, 0.0)))
    p_values = screen.p_values(scores)
    assert (p_values[~screen.passes(scores)] > screen.share).all()
    for rate in (0.05, 0.2, 0.5):
        assert 0.8 < (p_values <= rate).mean() / rate < 1.2


def test_other_rows_than_it_reads_are_refused(screen: Distilled) -> None:
    with pytest.raises(BadInputError, match="numbers"):
        screen.scores(np.zeros((3, 2), np.float32))
    with pytest.raises(BadInputError, match="lacks kind"):
        screen.read(_rows(np.random.default_rng(5), 3, 0.0).drop("kind"))


@pytest.mark.parametrize("unknown", [False, True])
def test_what_passes_is_judged_in_full_and_the_rest_never_alarms(panel: Panel, unknown: bool) -> None:
    rng = np.random.default_rng(6)
    queries = pl.concat([_rows(rng, 3_000, 0.0), _rows(rng, 50, 5.0), _rows(rng, 50, 2.5)])
    whole = panel.judge(queries, unknown=unknown)
    panel.distill(rng, unknown=unknown)
    looked = panel.judge(queries, unknown=unknown)
    used = panel.screens.pop(unknown)
    assert used is not None
    passing = used.passes(used.scores(used.read(queries)))
    assert np.array_equal(looked.p_values[passing], whole.p_values[passing])
    assert np.allclose(looked.surprises[passing], whole.surprises[passing])
    assert (looked.p_values[~passing] > used.share).all()
    full, left = whole.p_values <= 0.005, looked.p_values <= 0.005
    assert not (left & ~full).any()
    assert left[full].mean() > 0.9
    assert panel.judge(queries[:0], unknown=unknown).p_values.shape == (0,)


def test_with_too_few_rows_everything_is_judged() -> None:
    rng = np.random.default_rng(7)
    panel = Panel.fit({"up": _rows(rng, 3, 5.0)}, _rows(rng, 100, 0.0), NAMES, rng)
    with pytest.raises(BadInputError, match="to measure a screen on"):
        distill(panel.detector, rng)
    queries = _rows(rng, 50, 1.0)
    before = panel.judge(queries, unknown=False)
    panel.distill(rng, unknown=False)
    assert np.array_equal(panel.judge(queries, unknown=False).p_values, before.p_values)
