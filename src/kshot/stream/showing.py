"""What is kept of a record behind an alert: facts for people, features for a label to teach from."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.kept import SEGMENT

_FACTS = (
    "first_time", "last_time", "originator", "orig_port", "responder", "resp_port", "protocol", "conn_state",
    "community_id", "orig_packets", "resp_packets", "orig_bytes", "resp_bytes", "log_uid", "log_service",
    "log_dns_query", "log_http_method", "log_http_host", "log_http_uri", "log_http_user_agent", "log_tls_sni",
)  # fmt: skip


def shown(
    frame: pl.DataFrame, features: pl.DataFrame, rows: Sequence[int], segment: NDArray[np.object_] | None = None
) -> list[tuple[str, str]]:
    """Facts and features of some rows, each a JSON object; beside the features the segment, if there are any."""
    at = list(rows)
    names = [name for name in _FACTS if name in frame.columns]
    times = [pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.9fZ") for name in ("first_time", "last_time")]
    facts = frame[at].select(names).with_columns(times).to_dicts()
    judged = features[at].to_dicts()
    if segment is not None:
        judged = [row | {SEGMENT: name} for row, name in zip(judged, segment[at], strict=True)]
    return [
        (
            json.dumps({name: value for name, value in fact.items() if value is not None}),
            json.dumps({name: None if value != value else value for name, value in row.items()}),
        )
        for fact, row in zip(facts, judged, strict=True)
    ]
