"""Tests the promise over several threats at once, and the left-out surprises below it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kshot.detection.calibration import Calibration, TailMap, left_out


@given(arrays(np.float64, st.integers(3, 40), elements=st.integers(-6, 6).map(lambda n: n / 2)))
def test_left_out_is_what_the_map_of_the_others_says(scores: np.ndarray) -> None:
    by_hand = [TailMap.of(np.delete(scores, i))(scores[i : i + 1])[0] for i in range(len(scores))]
    np.testing.assert_allclose(left_out(scores), by_hand, atol=1e-9)


def test_eight_threats_together_keep_the_rate_of_one() -> None:
    rng = np.random.default_rng(3)
    for rate, most in ((0.01, 1.15), (0.001, 1.4)):
        delivered = []
        for _ in range(30):
            calibration = Calibration.of(rng.standard_t(3, size=(2000, 8)))
            fresh = rng.standard_t(3, size=(4000, 8))
            delivered.append((calibration.p_values(calibration.surprises(fresh).max(1)) <= rate).mean())
        # Each threat's own greatest once raised alarms of its own: 1.2 and 3.7 times the promise.
        assert 0.6 < np.mean(delivered) / rate < most


def test_one_threat_is_ranked_exactly() -> None:
    scores = np.arange(1.0, 100.0)[:, None]
    calibration = Calibration.of(scores)
    found = calibration.p_values(calibration.surprises(np.array([[99.5], [98.5], [0.0]])).max(1))
    np.testing.assert_allclose(found, [0.01, 0.02, 1.0])
