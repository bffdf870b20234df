"""The extractor: flow frames in, batch after batch, feature frames out, row for row."""

from __future__ import annotations

import polars as pl

from kshot.features.flow import flow_features
from kshot.features.graph import graph_features
from kshot.features.history import past_features
from kshot.features.log_facts import log_features
from kshot.features.memory import Memory, new_memory
from kshot.features.payload import payload_features
from kshot.features.sequence import sequence_features
from kshot.features.tiers import tier_of_flows
from kshot.records.columns import Tier


class FeatureExtractor:
    """Turns flows into features; remembers what each host did, so one extractor follows one stream.

    Rows are to come in the order in which a meter closes flows. Splitting them into batches anywhere gives the same
    features, and memory stays bounded. A frame of a poorer tier, which lacks flow columns, gets the features of that
    tier only, in the order of `FEATURE_COLUMNS`.

    graph: also the columns of `GRAPH_COLUMNS`, for which each call's frame is a window of its own.

    >>> import polars as pl
    >>> from kshot.features import FeatureExtractor
    >>> from kshot.records.flows import FLOW_SCHEMA
    >>> FeatureExtractor().transform(pl.DataFrame(schema=FLOW_SCHEMA)).height
    0
    """

    def __init__(self, *, graph: bool = False) -> None:
        self.graph = graph
        self._memory: Memory | None = None

    def transform(self, flows: pl.DataFrame) -> pl.DataFrame:
        """Return one row of features a row of `flows`, in the same order.

        Raises:
            InternalError: `flows` lacks columns that every flow source must fill.
            MissingExtraError: the graph is asked for and rustworkx is not installed.
        """
        tier = tier_of_flows(flows)
        if self._memory is None:
            self._memory = new_memory()
        features = flow_features(flows, tier)
        if tier >= Tier.PACKETS:
            features = features.with_columns(*sequence_features(flows), *payload_features(flows))
        elif tier >= Tier.ZEEK:
            features = features.with_columns(log_features(flows))
        features = features.with_columns(past_features(flows, features, tier, self._memory))
        return features.with_columns(graph_features(flows)) if self.graph else features
