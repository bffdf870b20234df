"""Suspicious columns: told by name, by value and by the label; measurements are left alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from kshot.episodes.suspects import suspect_columns

LABELS = ["benign", "worm"] * 50


def suspects(**columns: object) -> dict[str, str]:
    return suspect_columns(pl.DataFrame(columns), LABELS)


@pytest.mark.parametrize(
    "name",
    ["src_ip", "Dst Port", "flow_id", "Timestamp", "id.orig_h", "sttl", "attack_cat", "detailedLabel",
     "first_timestamp_fwd", "TX_DATETIME", "sample", "sourceIP", "session"],
)  # fmt: skip
def test_names_tell(name: str) -> None:
    assert set(suspects(**{name: np.random.default_rng(0).normal(size=100)})) == {name}


@pytest.mark.parametrize(
    "name",
    ["src_bytes", "Fwd IAT Mean", "dst_host_count", "flow_duration", "f12", "service", "Protocol", "rate",
     "is_host_login", "Active Mean", "ct_dst_ltm", "length", "TX_AMOUNT", "NumberOfSections"],
)  # fmt: skip
def test_measurements_are_left_alone(name: str) -> None:
    assert not suspects(**{name: np.random.default_rng(0).normal(size=100)})


def test_values_tell() -> None:
    rng = np.random.default_rng(0)
    found = suspects(
        a=[f"10.0.{i}.7" for i in range(100)],
        b=[f"fe80::{i:x}" for i in range(100)],
        c=[f"2026-01-{i % 28 + 1:02d} 10:00" for i in range(100)],
        d=np.arange(100) * 3,
        e=["x", "y"] * 50,
        f=pl.Series(np.arange(100)).cast(pl.Datetime("us")),
        g=rng.integers(0, 9, 100),
        h=[f"GET /{i}" for i in range(100)],
        i=rng.choice(["x", "y"], 100),
    )
    assert set(found) == {"a", "b", "c", "d", "e", "f"}
    assert found["e"] == "is the label in other words"


def test_what_is_to_be_kept_is_kept() -> None:
    assert not suspect_columns(pl.DataFrame({"src_ip": ["10.0.0.1"] * 100}), LABELS, keep=["src_ip"])
