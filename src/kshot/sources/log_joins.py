"""Joins what other logs tell of a flow to its row; gives every log frame the same columns."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from kshot.records.flows import FLOW_SCHEMA, LOG_COLUMNS

FACTS: tuple[tuple[str, ...], ...] = (
    ("log_dns_query", "log_dns_type"),
    ("log_dns_answer",),
    ("log_http_method", "log_http_host", "log_http_uri", "log_http_user_agent", "log_http_status"),
    ("log_tls_version", "log_tls_sni"),
)
"""Facts that are taken together, from the first record of the flow that has any of them."""
_NAMES = [column.name for column in LOG_COLUMNS]


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
