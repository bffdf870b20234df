"""The host graph of a window."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from flow_rows import flow, flows

from kshot.errors import MissingExtraError
from kshot.features import GRAPH_COLUMNS, FeatureExtractor

pytestmark = pytest.mark.kernel


def test_degrees_reciprocity_clustering_and_component() -> None:
    calls = ["ab", "ba", "ac", "bc", "ad", "ef", "ab"]
    frame = flows(*(flow(k, originator=a, responder=b) for k, (a, b) in enumerate(calls)))
    features = FeatureExtractor(graph=True).transform(frame)
    first = features.row(0, named=True)
    assert (first["orig_out_degree"], first["orig_in_degree"], first["resp_out_degree"]) == (3, 1, 2)
    assert first["orig_reciprocity"] == pytest.approx(1 / 3)
    assert first["orig_clustering"] == pytest.approx(1 / 3)
    assert first["resp_clustering"] == 1
    assert first["orig_component_hosts"] == 4
    assert first["is_mutual"] is True
    assert features["resp_component_hosts"].to_list() == [4, 4, 4, 4, 4, 2, 4]
    assert features["is_mutual"].to_list() == [True, True, False, False, False, False, True]
    assert features["resp_clustering"].to_list()[4] is None


def test_without_rustworkx_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "rustworkx":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtraError, match=r"kshot\[graph\]"):
        FeatureExtractor(graph=True).transform(flows(flow()))
    assert FeatureExtractor().transform(flows(flow())).height == 1


def test_a_host_that_calls_itself_and_an_empty_window() -> None:
    row = FeatureExtractor(graph=True).transform(flows(flow(responder="10.0.0.1"))).row(0, named=True)
    assert (row["orig_out_degree"], row["orig_reciprocity"], row["orig_component_hosts"]) == (0, None, 1)
    empty = FeatureExtractor(graph=True).transform(flows(flow())[:0])
    assert empty.columns[-len(GRAPH_COLUMNS) :] == [column.name for column in GRAPH_COLUMNS]
