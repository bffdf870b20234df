"""Tables as the reference protocol prepares them, so that its figures can be had again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from kshot.episodes.tables import BENIGN, LabelledTable, Labels, first_of_each

_BENIGN_KEY = "__benign"
"""How the protocol spells the benign label; families are drawn in the order of their names, this one among them."""
_NEITHER = frozenset({"Background", "?", "Unknown", "-", ""})
_CAP_ROWS = 6000
_BENIGN_CAP_ROWS = 3 * _CAP_ROWS
NEVER_FEATURES = frozenset(
    "id|Flow ID|Src IP|Dst IP|Src Port|Dst Port|Timestamp|src_ip|dst_ip|src_port|dst_port|IPV4_SRC_ADDR|IPV4_DST_ADDR|"
    "L4_SRC_PORT|L4_DST_PORT|ts|date|time|uid|id.orig_h|id.resp_h|id.orig_p|id.resp_p|difficulty|src|dst|timestamp|"
    "Unnamed: 0|index|attempted|Attempted Category|no|label|Label|type|attack_cat|Attack|Attack_type|detailedlabel|"
    "tunnel_parents|history|StartTime|LastTime|SrcAddr|DstAddr|Sport|Dport|SrcMac|DstMac|sample|file|DATETIME|Time|"
    "Name|md5|Category|group|capture|frame|frame_time|TRANSACTION_ID|TX_DATETIME|CUSTOMER_ID|TERMINAL_ID|"
    "TX_TIME_SECONDS|TX_TIME_DAYS|TX_FRAUD|ATT_FLAG|row|local_orig|local_resp|source_file|packetno|malicious|eth_src|"
    "eth_dst|ip_src|ip_dst|family|Class|class|Malware|pkt|t|dt|sport|dport|mb_trans|switch|port_no|sttl|dttl|"
    "ct_state_ttl|stcpb|dtcpb|MIN_TTL|MAX_TTL|DNS_QUERY_ID|smac|dmac|src_mac|dst_mac|sTtl|dTtl|srcip|dstip|srcport|"
    "dstport".split("|")
)
"""Columns that the protocol never scores on: addresses, ports, times, ids, TTLs, labels, counters of the capture."""


def reference_table(
    name: str, corpus: str, frame: pl.DataFrame, labels: Sequence[str] | Labels, seed: int = 0
) -> LabelledTable:
    """Prepare a table as the reference protocol does.

    Args:
        name: the table's name, which seeds its episodes.
        corpus: its test bed or laboratory.
        frame: (n, columns) all columns but the label, in file order.
        labels: (n,) the source's own labels, `BENIGN` for its benign ones.
        seed: of the draw that caps a family at 6,000 rows and the benign rows at 18,000.

    The protocol's columns go, then rows of no label, then exact duplicates; groups are not known to it.
    """
    spelled = np.array([_BENIGN_KEY if label == BENIGN else str(label) for label in labels], dtype=object)
    features = frame.drop([column for column in frame.columns if column in NEVER_FEATURES])
    told = np.flatnonzero(~np.isin(spelled.astype(str), sorted(_NEITHER)))
    features, spelled = features[told], spelled[told]
    kept = first_of_each(features, spelled)
    dropped = len(spelled) - len(kept)
    features, spelled = features[kept], spelled[kept]
    rng = np.random.default_rng(seed)
    chosen = []
    for label in sorted(set(spelled.tolist())):
        rows = np.flatnonzero(spelled == label)
        chosen.append(rng.permutation(rows)[: _BENIGN_CAP_ROWS if label == _BENIGN_KEY else _CAP_ROWS])
    rows = np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else np.empty(0, np.int64)
    out = np.where(spelled[rows] == _BENIGN_KEY, BENIGN, spelled[rows])
    return LabelledTable(name, corpus, features[rows], out, duplicates_dropped=dropped)
