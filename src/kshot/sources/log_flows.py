"""How what a log says becomes columns of flows: the same for Zeek's and Suricata's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.flows import CONN_STATES, FLOW_SCHEMA, LOG_COLUMNS

_TOLD_OF = {
    "http": ("log_http_method", "log_http_host", "log_http_uri", "log_http_user_agent", "log_http_status"),
    "dns": ("log_dns_query", "log_dns_type", "log_dns_answer"),
    "tls": ("log_tls_version", "log_tls_sni"),
}
FACTS = (_TOLD_OF["dns"][:2], _TOLD_OF["dns"][2:], _TOLD_OF["http"], _TOLD_OF["tls"])
"""Facts that are taken together, from the first record of the flow that has any of them."""
HEADER_BYTES = np.zeros(256, np.int64)
"""(256,) by IP protocol: of a header without options."""
HEADER_BYTES[[6, 17, 1, 58, 132]] = (20, 8, 8, 8, 28)
ETHERNET_BYTES = 14
VLAN_TAG_BYTES = 4
_MOMENT = pl.Datetime("ns", "UTC")
_STATES = pl.Series([*CONN_STATES, None], dtype=pl.Enum(CONN_STATES))
_NAMES = [column.name for column in LOG_COLUMNS]


def told_by(kind: str, uid: str, *fields: str) -> dict[str, str]:
    """Return which field fills which of LOG_COLUMNS, for a log of http, dns or tls, in the order of these."""
    return {"log_uid": uid} | dict(zip(_TOLD_OF[kind], fields, strict=True))


def flow_frame(
    text: pl.DataFrame,
    first_nanoseconds: NDArray[np.int64],
    length_nanoseconds: NDArray[np.int64],
    states: NDArray[np.int64],
    numbers: dict[str, NDArray[np.int64]],
) -> pl.DataFrame:
    """Add to the text columns of flows their times, their states (places in CONN_STATES, -1 for none) and numbers."""
    return text.with_columns(
        pl.Series("first_time", first_nanoseconds).cast(_MOMENT),
        pl.Series("last_time", first_nanoseconds + length_nanoseconds).cast(_MOMENT),
        pl.Series("duration_seconds", length_nanoseconds * 1e-9),
        _STATES.gather(np.where(states >= 0, states, len(CONN_STATES))).alias("conn_state"),
        *(pl.Series(name, values) for name, values in numbers.items()),
    )


def join_facts(flows: pl.DataFrame, facts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Add to `flows` what `facts`, frames with a log_uid and some columns of LOG_COLUMNS, tell of their log_uid."""
    for group in FACTS:
        having = [frame.select("log_uid", *group) for frame in facts if group[0] in frame.columns]
        if not having:
            continue
        told = pl.any_horizontal(pl.col(name).is_not_null() for name in group)
        first = pl.concat(having).filter(told & pl.col("log_uid").is_not_null())
        first = first.unique("log_uid", keep="first", maintain_order=True)
        flows = flows.join(first, on="log_uid", how="left", maintain_order="left")
    return flows


def as_log_frame(flows: pl.DataFrame) -> pl.DataFrame:
    """Put the columns in the order of FLOW_SCHEMA, then LOG_COLUMNS; those of LOG_COLUMNS that lack are null."""
    lacking = [pl.lit(None, pl.String()).alias(name) for name in _NAMES if name not in flows.columns]
    names = [name for name in FLOW_SCHEMA if name in flows.columns]
    return flows.with_columns(lacking).select(*names, *_NAMES).cast({name: FLOW_SCHEMA[name] for name in names})
