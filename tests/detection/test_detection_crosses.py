"""Made-up shots that trees see beside the real ones: columns stay whole, rows are the tree's own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kshot.detection.forest import grow
from kshot.detection.forest_kernels import add_crosses


@given(
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0.0, 0.2, 1.0]),
    n_threats=st.integers(1, 3),
    wanted=st.integers(1, 6),
)
def test_a_cross_takes_each_input_column_whole_from_a_row_of_its_threat_or_of_one_benign_row(
    seed: int, share: float, n_threats: int, wanted: int
) -> None:
    sources = np.array([0, 1, 1, 2, 0], np.int64)
    n_benign, n_shots = 4, 2
    known = np.concatenate([np.zeros(n_benign), np.repeat(np.arange(1, n_threats + 1), n_shots)]).astype(np.int64)
    n, room = len(known), len(known) + wanted * n_threats
    columns = np.full((5, room), np.nan, np.float32)
    columns[:, :n] = np.arange(n)  # every value says which row it is of
    labels = np.zeros(room, np.int64)
    labels[:n] = known
    seen = np.array([0, 2, *range(n_benign, n)])
    chosen = np.empty(room, np.int64)
    chosen[: len(seen)] = seen
    filled = add_crosses(columns, sources, labels, n, len(seen), chosen, wanted, share, np.array([seed], np.uint64))
    assert filled == len(seen) + wanted * n_threats
    for row in chosen[len(seen) : filled]:
        threat, values = labels[row], columns[:, row]
        assert values[1] == values[2]
        assert values[0] == values[4]
        of_benign = {int(v) for v in values if v < n_benign}
        of_shots = {int(v) for v in values if v >= n_benign}
        assert len(of_benign) <= 1
        assert of_benign <= {0, 2}
        assert len(of_shots) <= 1
        assert all(known[shot] == threat for shot in of_shots)
        assert share > 0 or not of_benign
        assert share < 1 or not of_shots


def test_one_shot_that_lacks_one_of_its_marks_is_found_all_the_same() -> None:
    # Six columns tell the shot from the reference; a variant shows five of them.
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(300, 30))
    reference[:, :6] = rng.normal(size=(300, 1)) * 0.1
    shot = np.r_[np.full(6, 3.0), np.zeros(24)]
    variants = np.tile(shot, (6, 1))
    variants[np.arange(6), np.arange(6)] = 0.0
    rows = np.vstack([reference, shot]).astype(np.float32)
    labels = np.r_[np.zeros(300, np.intp), 1]
    scores = {}
    for names in ((), [str(column) for column in range(30)]):
        forest, _ = grow(rows, labels, 400, np.random.default_rng(1), hold_out_shots=False, crossed=names)
        scores[bool(names)] = forest.logits(variants.astype(np.float32))[:, 0].mean()
    assert scores[True] > scores[False]
