"""What is let go of when a live wire brings more flows than can be judged: first what says least."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

MOST_OF_A_HOST = 8
MOST_LONE = 16
"""Lone flows kept of a piece: of any one host on either end, and altogether."""


def without_lone(flows: pl.DataFrame) -> pl.DataFrame:
    """Leave out most lone flows, of one or two packets that nobody answered, and keep all others.

    A flood is such flows; so are scans of what does not answer, of which each host on either end keeps a sample. What
    is left out is counted by the caller.
    """
    # By numpy: the threads of polars yield to the reader's, who would have to wait for them.
    lone = (flows["resp_packets"].to_numpy() == 0) & (flows["orig_packets"].to_numpy() <= 2)
    at = np.flatnonzero(lone)
    if not len(at):
        return flows
    sample = np.ones(len(at), bool)
    for host in ("originator", "responder"):
        sample &= _place_among_equals(flows[host].hash().to_numpy()[at]) < MOST_OF_A_HOST
    stays = ~lone
    stays[at[sample][:MOST_LONE]] = True
    return flows.filter(pl.Series(stays))


def _place_among_equals(keys: NDArray[np.uint64]) -> NDArray[np.intp]:
    """(n,) keys -> (n,) how many equal ones stand before each."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    begins = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))
    out = np.empty(len(keys), np.intp)
    out[order] = np.arange(len(keys)) - np.repeat(begins, np.diff(np.append(begins, len(keys))))
    return out
