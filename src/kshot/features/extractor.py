"""The extractor: flow frames in, batch after batch, feature frames out, row for row."""

from __future__ import annotations

import polars as pl

from kshot.features.flow import flow_features
from kshot.features.history import past_features
from kshot.features.memory import new_memory
from kshot.features.payload import payload_features
from kshot.features.sequence import sequence_features
from kshot.features.tiers import tier_of_flows
from kshot.records.columns import Tier


class FeatureExtractor:
    """Turns flows into features; remembers what each host did, so one extractor follows one stream.

    Splitting the stream into batches anywhere gives the same features. A frame of a poorer tier, which lacks flow
    columns, gets the features of that tier only.
    """

    def __init__(self, *, graph: bool = False) -> None:
        self.graph = graph
        self._memory = new_memory()

    def transform(self, flows: pl.DataFrame) -> pl.DataFrame:
        """Return one row of features a row of `flows`, in the same order.

        Raises:
            InternalError: `flows` lacks columns that every flow source must fill.
        """
        tier = tier_of_flows(flows)
        features = flow_features(flows, tier)
        if tier >= Tier.PACKETS:
            features = features.with_columns(*sequence_features(flows), *payload_features(flows))
        return features.with_columns(past_features(flows, features, tier, self._memory))
