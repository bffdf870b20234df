"""Mid-ranks are scipy's."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from kshot.episodes.ranks import mid_ranks


@given(st.lists(st.floats(allow_nan=False, width=16), max_size=50))
def test_mid_ranks_are_scipys(values: list[float]) -> None:
    assert mid_ranks(np.array(values)).tolist() == rankdata(values).tolist()
