"""Where trees cut: at a node the purest of all cuts, halfway between the values that it parts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kshot.detection.cut_kernels import CONSTANT, best_cut, between, enter, group_values, new_node, purity_at, read


def purity_of(cut: float, values: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The weighted Gini impurity's complement, summed over both sides, as it is defined."""
    out = 0.0
    for side in (values <= cut, values > cut):
        of = np.array([weights[c] * (labels[side] == c).sum() for c in range(len(weights))])
        out += (of**2).sum() / of.sum()
    return out


rows_of_a_tree = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0, 1.5, 2.0, 7.0, 1e30]) | st.floats(-9, 9, width=32)),
    min_size=2,
    max_size=40,
)


@given(known=rows_of_a_tree, seed=st.integers(0, 2**32), far=st.booleans())
def test_no_cut_is_purer(known: list[tuple[int, float]], seed: int, far: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = np.array([label for label, _ in known], np.int64)
    column = np.array([value for _, value in known], np.float32)
    if far:  # many values that the node does not have: groups are sorted, not counted
        labels = np.concatenate([labels, np.ones(2_000, np.int64)])
        column = np.concatenate([column, np.linspace(-20, 20, 2_000, dtype=np.float32)])
    weights = rng.uniform(0.1, 3.0, 4)
    chosen = np.flatnonzero(rng.uniform(size=len(known)) < 0.8)
    if not len(chosen):
        return
    rows = chosen[np.argsort(labels[chosen], kind="stable")].astype(np.uint32)
    node = new_node(len(labels), 4)
    whole = enter(node, rows, labels, weights)
    groups = group_values(column[None], labels)[0]
    found, above = best_cut(groups, rows, weights, node, whole, 1)
    values, of = column[rows], labels[rows]
    levels = np.unique(values)
    if len(levels) < 2 or not of.any():
        assert found in (CONSTANT, -1.0)
        return
    every = [purity_of(level, values, of, weights) for level in levels[:-1]]
    cut = between(column, groups, rows, above)
    assert levels[0] <= cut < levels[-1]
    assert np.isclose(found, max(every), rtol=1e-6)
    assert np.isclose(purity_of(cut, values, of, weights), found, rtol=1e-6)
    low, high = read(node, column, rows)
    assert (low, high) == (levels[0], levels[-1])
    assert np.isclose(purity_at(cut, node, weights, whole, 1), found, rtol=1e-6)
