"""Numbers from flows: each by itself, beside what its ends did before, and as a relation."""

from kshot.features.extractor import FeatureExtractor
from kshot.features.graph import GRAPH_COLUMNS
from kshot.features.log_facts import untold_columns
from kshot.features.schema import FEATURE_COLUMNS, fingerprint
from kshot.features.tiers import columns_for_tier, encode_to_tier
from kshot.features.warmup import settle

__all__ = [
    "FEATURE_COLUMNS",
    "GRAPH_COLUMNS",
    "FeatureExtractor",
    "columns_for_tier",
    "encode_to_tier",
    "fingerprint",
    "settle",
    "untold_columns",
]
