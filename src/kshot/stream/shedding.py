"""What is let go of when a live wire brings more flows than can be judged: first what says least."""

from __future__ import annotations

import polars as pl

MOST_OF_A_HOST = 8
MOST_LONE = 64
"""Lone flows kept of a piece: of any one host on either end, and altogether."""


def without_lone(flows: pl.DataFrame) -> pl.DataFrame:
    """Leave out most lone flows, of one or two packets that nobody answered, and keep all others.

    A flood is such flows; so are scans of what does not answer, of which each host on either end keeps a sample. What
    is left out is counted by the caller.
    """
    lone = (pl.col("resp_packets") == 0) & (pl.col("orig_packets") <= 2)
    counted = flows.select(
        lone.alias("lone"),
        *(pl.int_range(pl.len()).over(host, lone).alias(host) for host in ("originator", "responder")),
    )
    sample = counted["lone"] & (counted["originator"] < MOST_OF_A_HOST) & (counted["responder"] < MOST_OF_A_HOST)
    return flows.filter(~counted["lone"] | (sample & (sample.cum_sum() <= MOST_LONE)))
