"""The extractor's memory at work: a batch of flows told to the behaviour kernel."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.features.addresses import mixed, parse_addresses
from kshot.features.behaviour import COLUMNS, behaviour_kernel
from kshot.features.declare import to_array, to_series
from kshot.features.log_facts import AS_LOGGED, SERVICES_OF_LOGS
from kshot.features.memory import Memory
from kshot.features.relations import relation_features
from kshot.records.columns import Tier

_REJECTED = ("REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH")
"""Connection states in which an end refused or reset."""
_TIME_LIMIT_NANOSECONDS = 1 << 61
"""Further from 1970 no capture is; so bounded, no distance of two times overflows."""


def _bits(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    return values.view(np.int64)


def past_features(flows: pl.DataFrame, features: pl.DataFrame, tier: Tier, memory: Memory) -> list[pl.Series]:
    """Compute the columns of behaviour.py and relations.py that `tier` can carry, and add the flows to `memory`.

    `features` holds what flow.py and payload.py or log_facts.py made of `flows`.
    """
    n = len(flows)
    orig, resp = parse_addresses(flows["originator"]), parse_addresses(flows["responder"])
    protocol = to_array(flows["protocol"], np.int64)
    ports = np.stack([to_array(flows[name], np.int64) for name in ("orig_port", "resp_port")], axis=1)
    kind = np.select([protocol == 6, protocol == 17], [0, 1], 2)
    port_key = kind * 65536 + ports[:, 1]
    service = None
    if tier >= Tier.ZEEK:
        service = to_array(features["service"].to_physical(), np.int64)
    unanswered = to_array(features["is_answered"], np.bool_, False) == 0
    marks = unanswered.astype(np.int64)
    if tier >= Tier.ZEEK:
        marks += 2 * to_array(flows["conn_state"].cast(pl.String).is_in(_REJECTED), np.bool_, False)
    port_word = port_key.astype(np.uint64)
    words = (
        orig.keys,
        resp.keys,
        mixed(orig.keys, resp.keys, port_word),
        mixed(orig.keys, resp.keys),
        mixed(resp.keys, orig.keys),
        mixed(resp.keys, port_word),
    )
    keys = np.stack([_bits(word) for word in words], axis=1)
    facts = np.zeros((n, 5), np.int64)
    times = to_array(flows["first_time"].to_physical(), np.int64)
    facts[:, 0] = np.clip(times, -_TIME_LIMIT_NANOSECONDS, _TIME_LIMIT_NANOSECONDS)
    facts[:, 1] = port_key
    facts[:, 2] = 0 if service is None else AS_LOGGED[service]
    facts[:, 3] = marks
    if "slice" in flows.columns:
        facts[:, 4] = to_array(flows["slice"], np.int64)
    sizes = np.stack([to_array(features[f"ip_bytes_from_{side}"], np.float64) for side in ("orig", "resp")], axis=1)
    out = np.full((len(COLUMNS), n), np.nan, np.float32)
    behaviour_kernel(*memory, keys, facts, np.ascontiguousarray(sizes), out)
    behaviour = [to_series(column, values) for column, values in zip(COLUMNS, out, strict=True) if column.tier <= tier]
    known = SERVICES_OF_LOGS if tier < Tier.PACKETS else None
    return [*behaviour, *relation_features(flows, orig, resp, service, ports, protocol, known)]
