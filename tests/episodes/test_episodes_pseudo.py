"""Pseudo-threats: compact corners of benign rows, or one line that says why there is none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from episode_tables import make_table, unlabelled

from kshot.episodes import BENIGN, EpisodeError, PseudoThreats, labelled_table


def test_a_pseudo_threat_is_a_compact_corner() -> None:
    source = PseudoThreats(unlabelled())
    rng = np.random.default_rng(1)
    for _ in range(30):
        rows = source.slice_rows(rng, 20)
        assert 20 <= len(rows) <= 180
        spread = [np.ptp(source.table.features[c].rank().to_numpy()[rows]) / 900 for c in ("price", "count")] + [
            source.table.features["shop"][rows].n_unique() / 3
        ]
        assert min(spread) < 0.99, "a slice is narrow in at least one of its columns"
    table = source.draw(rng, 20)
    assert table.families == ("pseudo-threat",) and len(table.rows_of(BENIGN)) > 700


def test_pseudo_threats_of_a_labelled_table_are_cut_from_its_benign_rows() -> None:
    assert set(PseudoThreats(make_table()).table.labels) == {BENIGN}


def test_a_table_too_plain_for_pseudo_threats_is_refused() -> None:
    plain = labelled_table("plain", "c", pl.DataFrame({"x": [0, 1]}), [BENIGN] * 2)
    with pytest.raises(EpisodeError, match="table plain: no slice of 5 to 0 of its 2 rows"):
        PseudoThreats(plain).slice_rows(np.random.default_rng(0), 5)


def test_columns_of_any_type_are_taken_or_passed_over() -> None:
    rows = 400
    frame = pl.DataFrame(
        {
            "list": [[i % 7] for i in range(rows)],
            "bytes": [b"\xff" * (i % 5) for i in range(rows)],
            "none": [None] * rows,
            "time": pl.Series(range(rows)).cast(pl.Datetime("us")),
            "kind": pl.Series([("a", "b", "c", "d")[i % 4] for i in range(rows)], dtype=pl.Categorical),
            "great": pl.Series([2**63 + i for i in range(rows)], dtype=pl.UInt64),
        }
    )
    source = PseudoThreats(labelled_table("t", "c", frame, [BENIGN] * rows))
    rng = np.random.default_rng(0)
    assert all(20 <= len(source.slice_rows(rng, 20)) <= 80 for _ in range(20))
