"""The extractor as a whole: batches, order, tiers, names, and what must never tell."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from flow_rows import START, flow, flows, random_flows, udp
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from kshot.errors import InternalError
from kshot.features import FEATURE_COLUMNS, GRAPH_COLUMNS, FeatureExtractor
from kshot.records.columns import Tier, check_frame
from kshot.records.flows import FLOW_COLUMNS, FLOW_SCHEMA

pytestmark = pytest.mark.kernel
seeds = st.integers(0, 2**32 - 1)


def _without(tier: Tier) -> list[str]:
    return [column.name for column in FLOW_COLUMNS if column.tier <= tier]


@settings(max_examples=20, deadline=None)
@given(seed=seeds, rows=st.integers(0, 40), cuts=st.lists(st.integers(0, 40), max_size=4))
def test_cutting_the_stream_anywhere_changes_nothing(seed: int, rows: int, cuts: list[int]) -> None:
    frame = random_flows(seed, rows, hosts=3)
    whole = FeatureExtractor().transform(frame)
    edges = sorted({0, rows, *(min(cut, rows) for cut in cuts)})
    extractor = FeatureExtractor()
    parts = [extractor.transform(frame[a:b]) for a, b in pairwise(edges)]
    if parts:
        assert_frame_equal(pl.concat(parts), whole, check_exact=True)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, rows=st.integers(0, 30), nulls=st.sampled_from([0.0, 0.1, 0.6, 1.0]))
def test_any_flow_frame_gives_the_declared_columns(seed: int, rows: int, nulls: float) -> None:
    features = FeatureExtractor(graph=True).transform(random_flows(seed, rows, nulls=nulls))
    declared = (*FEATURE_COLUMNS, *GRAPH_COLUMNS)
    assert features.columns == [column.name for column in declared]
    assert features.height == rows
    check_frame(features, declared, "features")
    for name, dtype in features.schema.items():
        if dtype.is_float():
            assert features[name].drop_nulls().is_finite().all(), name


def test_no_feature_is_named_as_a_flow_column() -> None:
    names = [column.name for column in (*FEATURE_COLUMNS, *GRAPH_COLUMNS)]
    assert len(set(names)) == len(names)
    assert not set(names) & set(FLOW_SCHEMA)
    assert all(column.meaning and "\n" not in column.meaning for column in FEATURE_COLUMNS)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, shift_hours=st.integers(-100_000, 100_000))
def test_forbidden_columns_tell_nothing(seed: int, shift_hours: int) -> None:
    frame = random_flows(seed, 25).with_columns(pl.col("first_time", "last_time").fill_null(START))
    changed = frame.with_columns(
        pl.col("first_time", "last_time").dt.offset_by(f"{shift_hours}h"),
        orig_ttl=pl.lit(1, pl.UInt8),
        resp_ttl=pl.lit(2, pl.UInt8),
        vlan=pl.lit(77, pl.UInt32),
        community_id=pl.lit("1:other"),
    )
    assert_frame_equal(FeatureExtractor().transform(changed), FeatureExtractor().transform(frame), check_exact=True)


def test_other_addresses_and_ports_of_the_same_kind_tell_the_same() -> None:
    frame = random_flows(7, 60).with_columns(protocol=pl.lit(6, pl.UInt8), resp_port=pl.lit(40001, pl.UInt16))
    frame = frame.with_columns(originator=pl.col("originator").replace({"10.0.0.1": "10.0.3.4"}))
    renamed = frame.with_columns(
        *(pl.col(end).str.replace_all("10.0.", "10.77.", literal=True) for end in ("originator", "responder")),
        orig_port=pl.col("orig_port").replace({40000: 50000, 8: 9}),
        resp_port=pl.lit(50001, pl.UInt16),
    )
    assert_frame_equal(FeatureExtractor().transform(renamed), FeatureExtractor().transform(frame), check_exact=True)


def test_the_link_layer_of_the_capture_tells_nothing() -> None:
    plain = flows(flow(), udp(1, b"x" * 40))
    tagged = plain.with_columns(
        orig_wire_bytes=pl.col("orig_wire_bytes") + 4 * pl.col("orig_packets"),
        resp_wire_bytes=pl.col("resp_wire_bytes") + 4 * pl.col("resp_packets"),
        packet_sizes_bytes=pl.col("packet_sizes_bytes").list.eval(pl.element() + 4 * pl.element().sign()),
    )
    assert_frame_equal(FeatureExtractor().transform(tagged), FeatureExtractor().transform(plain), check_exact=True)


@pytest.mark.parametrize("tier", [Tier.NETFLOW, Tier.ZEEK])
def test_a_poorer_frame_gets_the_features_of_its_tier(tier: Tier) -> None:
    frame = random_flows(3, 20).with_columns(slice=pl.lit(0, pl.UInt32))
    features = FeatureExtractor().transform(frame.select(_without(tier)))
    assert features.columns == [column.name for column in FEATURE_COLUMNS if column.tier <= tier]
    rich = FeatureExtractor().transform(frame)
    history = [name for name in features.columns if name.startswith(("orig_peers", "pair_gap", "resp_rate"))]
    assert len(history) > 4
    assert_frame_equal(features.select(history), rich.select(history), check_exact=True)


def test_a_frame_without_its_keys_is_our_mistake() -> None:
    with pytest.raises(InternalError, match="responder is missing"):
        FeatureExtractor().transform(random_flows(1, 3).drop("responder"))


def test_an_empty_batch_in_between_is_nothing() -> None:
    extractor = FeatureExtractor()
    frame = random_flows(5, 10)
    parts = [extractor.transform(part) for part in (frame[:4], frame[:0], frame[4:])]
    assert_frame_equal(pl.concat(parts), FeatureExtractor().transform(frame), check_exact=True)
