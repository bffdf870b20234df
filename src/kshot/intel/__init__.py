"""Threats as data: made from examples, checked, thinned, and fitted to what an input can tell."""

from kshot.intel.attack import check_attack_ids
from kshot.intel.columns import droppable_columns
from kshot.intel.fitting import Fitted, fit_threats, plain_types, table_fingerprint
from kshot.intel.kinds import are_of_kinds, is_of_kind
from kshot.intel.quality import ShotQuality, shot_quality
from kshot.intel.teaching import SEVERITIES, add_shots, teach
from kshot.intel.thinning import thin

__all__ = [
    "SEVERITIES",
    "Fitted",
    "ShotQuality",
    "add_shots",
    "are_of_kinds",
    "check_attack_ids",
    "droppable_columns",
    "fit_threats",
    "is_of_kind",
    "plain_types",
    "shot_quality",
    "table_fingerprint",
    "teach",
    "thin",
]
