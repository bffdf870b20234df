"""What a capture cannot know yet must not tell its first records from the others."""

from __future__ import annotations

import polars as pl

from kshot.features import FEATURE_COLUMNS, settle


def frame(peers: list[float | None], new: list[bool | None], packets: list[float | None]) -> pl.DataFrame:
    kinds = {column.name: column.dtype for column in FEATURE_COLUMNS}
    values = {"orig_peers_100": peers, "responder_is_new": new, "packets_from_orig": packets}
    return pl.DataFrame(values, schema={name: kinds[name] for name in values})


REFERENCE = frame([float(i) for i in range(101)], [False] * 90 + [True] * 11, [1.0] * 101)


def test_missing_history_takes_the_middle_of_the_reference() -> None:
    settled = settle(frame([None, 7.0], [None, True], [None, 2.0]), REFERENCE)
    assert settled["orig_peers_100"].to_list() == [50.0, 7.0]
    assert settled["responder_is_new"].to_list() == [False, True]


def test_what_is_missing_for_other_reasons_stays_missing() -> None:
    settled = settle(frame([None], [None], [None]), REFERENCE)
    assert settled["packets_from_orig"].to_list() == [None]


def test_history_that_the_reference_hardly_knows_is_emptied() -> None:
    warm = frame([5.0, 6.0], [True, False], [1.0, 1.0])
    cold = frame([None] * 30 + [4.0] * 19, [None] * 49, [1.0] * 49)
    settled = settle(warm, cold)
    assert settled["orig_peers_100"].null_count() == settled["responder_is_new"].null_count() == 2
    assert settled.schema == warm.schema


def test_a_record_is_settled_by_the_reference_alone() -> None:
    rows = frame([None, 1.0, 90.0], [None, True, False], [1.0, 2.0, 3.0])
    assert settle(rows, REFERENCE)[:1].equals(settle(rows[:1], REFERENCE))
