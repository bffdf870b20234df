"""A record of a kind that no example is of is not named after a threat."""

from __future__ import annotations

import polars as pl

from kshot.features import FEATURE_COLUMNS
from kshot.intel import are_of_kinds, is_of_kind

_TYPES = {column.name: column.dtype for column in FEATURE_COLUMNS}


def _frame(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(columns, schema={name: _TYPES[name] for name in columns})


def test_a_category_or_flag_that_no_example_shows_is_of_another_kind() -> None:
    shots = _frame(service=["dns", "dns"], is_answered=[True, True], flow_seconds=[1.0, 2.0])
    asked = _frame(service=["dns", "http", "dns", None], is_answered=[True, True, False, True], flow_seconds=[9e9] * 4)
    assert is_of_kind(shots, asked).tolist() == [True, False, False, False]


def test_what_examples_lack_may_be_lacking() -> None:
    shots = _frame(dns_query=["txt", None])
    assert is_of_kind(shots, _frame(dns_query=[None, "txt", "a"])).tolist() == [True, True, False]


def test_a_networks_lay_out_is_no_kind_but_a_group_of_hosts_is() -> None:
    shots = _frame(resp_scope=["private"], same_subnet=[True], port_fits_service=["yes"])
    asked = _frame(
        resp_scope=["public", "broadcast", "private"],
        same_subnet=[False, True, None],
        port_fits_service=["no", "yes", None],
    )
    assert is_of_kind(shots, asked).tolist() == [True, False, False]


def test_each_row_is_asked_of_every_threat() -> None:
    shots = [_frame(service=["dns", "http"], is_answered=[True, True]), _frame(service=[None], is_answered=[False])]
    asked = _frame(service=["dns", "dns", None, None], is_answered=[True, True, False, False])
    assert are_of_kinds(shots, asked).tolist() == [[True, False], [True, False], [False, True], [False, True]]
