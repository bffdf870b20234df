"""A user's table without a map: suspicious columns are left out by default, and told."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from data_maps import logins

from kshot.datasets import own_table
from kshot.errors import UserError


def test_suspicious_columns_are_left_out_and_told(tmp_path: Path) -> None:
    frame = logins().with_columns(
        src_ip=pl.lit("10.0.0.1"), verdict=pl.col("verdict").fill_null("ok").str.strip_chars()
    )
    frame = frame.with_columns(verdict=pl.col("verdict").replace("unclear", "ok").replace("brute-ftp", "brute-ssh"))
    frame.write_csv(tmp_path / "mine.csv")
    table, left_out = own_table(tmp_path / "mine.csv", "verdict", ["ok"])
    assert set(left_out) == {"row", "when", "session", "tool", "src_ip"}
    assert left_out["tool"] == "is the label in other words"
    assert table.features.columns == ["tries", "agent"] and table.name == table.corpus == "mine"
    assert not table.features.with_columns(pl.Series("y", table.labels.tolist())).is_duplicated().any()


def test_columns_are_kept_and_dropped_at_will(tmp_path: Path) -> None:
    logins().write_parquet(tmp_path / "mine.parquet")
    table, left_out = own_table(
        tmp_path / "mine.parquet", "verdict", ["ok"], drop=["agent"], keep=["tool"], group="session", order="when"
    )
    assert table.features.columns == ["tries", "tool"] and set(left_out) == {"row"}
    assert table.groups is not None
    with pytest.raises(UserError, match="has no column 'verdikt'"):
        own_table(tmp_path / "mine.parquet", "verdikt", ["ok"])
    with pytest.raises(UserError, match="no row of column 'verdict' is good"):
        own_table(tmp_path / "mine.parquet", "verdict", ["good"])
