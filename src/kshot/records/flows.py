"""The flow frame: one row a bidirectional flow, as every flow source must fill it."""

from __future__ import annotations

import polars as pl

from kshot.records.columns import Column, Tier

CONN_STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
"""Zeek's conn_state values (docs.zeek.org, base/protocols/conn/main.zeek)."""
END_REASONS = ("fin", "rst", "idle", "active", "evicted", "end")
"""Why a flow was closed: TCP's own end, a timeout, memory wanted, or the input's end."""
TUNNELS = ("none", "gre", "ipip", "vxlan", "gtpu")
"""What the flow was unwrapped from; the innermost one."""
SEQUENCE_PACKETS = 32
"""How many of a flow's first packets are kept one by one."""
PAYLOAD_BYTES = 64
"""How many of each direction's first payload bytes are kept."""

_DIRECTIONS = (("orig", "originator"), ("resp", "responder"))
_STATISTICS = (("min", "least"), ("max", "greatest"), ("mean", "mean"), ("std", "standard deviation of"))
TCP_FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
"""In the order of their bits, from the least significant."""


def _both(name: str, dtype: pl.DataType, unit: str, meaning: str, tier: Tier) -> list[Column]:
    return [Column(name.format(d), dtype, unit, meaning.format(who), tier) for d, who in _DIRECTIONS]


FLOW_COLUMNS: tuple[Column, ...] = (
    Column("first_time", pl.Datetime("ns", "UTC"), "", "when its first packet was seen"),
    Column("last_time", pl.Datetime("ns", "UTC"), "", "when its last packet was seen"),
    Column("duration_seconds", pl.Float64(), "seconds", "from its first packet to its last"),
    Column("originator", pl.String(), "", "address that opened it (sent the SYN, or the first packet)"),
    Column("responder", pl.String(), "", "address that answered, or was to"),
    Column("orig_port", pl.UInt16(), "", "originator's port; ICMP: the type"),
    Column("resp_port", pl.UInt16(), "", "responder's port; ICMP: the code"),
    Column("protocol", pl.UInt8(), "", "IP protocol number: 6 TCP, 17 UDP, 1 ICMP"),
    Column("vlan", pl.UInt32(), "", "VLAN id, for QinQ outer * 4096 + inner; 0 none"),
    Column("tunnel", pl.Enum(TUNNELS), "", "what it was unwrapped from", Tier.PACKETS),
    Column("community_id", pl.String(), "", "community ID v1, seed 0"),
    Column("conn_state", pl.Enum(CONN_STATES), "", "Zeek's connection state", Tier.ZEEK),
    Column("end_reason", pl.Enum(END_REASONS), "", "why the meter closed it", Tier.PACKETS),
    Column("slice", pl.UInt32(), "1", "which slice of a flow cut by the active timeout this is, from 0", Tier.PACKETS),
    *_both("{}_packets", pl.UInt64(), "packets", "packets from the {}", Tier.NETFLOW),
    *_both("{}_wire_bytes", pl.UInt64(), "bytes", "frame bytes on the wire from the {}", Tier.NETFLOW),
    *_both("{}_bytes", pl.UInt64(), "bytes", "transport payload bytes from the {}", Tier.ZEEK),
    *(
        column
        for statistic, words in _STATISTICS
        for column in _both(
            f"{{}}_size_{statistic}_bytes", pl.Float32(), "bytes", f"{words} frame size from the {{}}", Tier.PACKETS
        )
    ),
    *(
        column
        for statistic, words in _STATISTICS
        for column in _both(
            f"{{}}_gap_{statistic}_seconds",
            pl.Float32(),
            "seconds",
            f"{words} gap between packets from the {{}}; null below 2 packets",
            Tier.PACKETS,
        )
    ),
    *(
        column
        for flag in TCP_FLAGS
        for column in _both(
            f"{{}}_{flag}_packets",
            pl.UInt32(),
            "packets",
            f"TCP packets with {flag.upper()} from the {{}}",
            Tier.PACKETS,
        )
    ),
    *_both(
        "{}_window_first_bytes",
        pl.UInt32(),
        "bytes",
        "first TCP window of the {}, unscaled; null if not TCP",
        Tier.PACKETS,
    ),
    *_both(
        "{}_window_max_bytes",
        pl.UInt32(),
        "bytes",
        "greatest TCP window of the {}, unscaled; null if not TCP",
        Tier.PACKETS,
    ),
    *_both("{}_ttl", pl.UInt8(), "1", "TTL or hop limit of the {}'s first packet; never a feature", Tier.PACKETS),
    Column(
        "packet_sizes_bytes",
        pl.List(pl.Int32()),
        "bytes",
        "frame sizes on the wire of the first 32 packets, negative from the responder",
        Tier.PACKETS,
    ),
    Column(
        "packet_gaps_seconds",
        pl.List(pl.Float32()),
        "seconds",
        "gap before each of the first 32 packets, the first 0",
        Tier.PACKETS,
    ),
    *_both("{}_payload", pl.Binary(), "", "first 64 payload bytes of the {}", Tier.PACKETS),
    *_both(
        "{}_entropy_bits",
        pl.Float32(),
        "bits",
        "Shannon entropy a byte of those bytes of the {}; null without payload",
        Tier.PACKETS,
    ),
)
"""Addresses are text without zone; `first_time`, ports and TTLs are for people and for grouping, never for scores."""

FLOW_SCHEMA: dict[str, pl.DataType] = {column.name: column.dtype for column in FLOW_COLUMNS}

_LOGS = "; null if the log does not tell"
LOG_COLUMNS: tuple[Column, ...] = (
    Column("log_uid", pl.String(), "", "Zeek's uid or Suricata's flow_id, to find the flow in the logs", Tier.ZEEK),
    Column("log_service", pl.String(), "", f"application protocol as the sensor names it{_LOGS}", Tier.ZEEK),
    Column("log_history", pl.String(), "", f"Zeek's history letters{_LOGS}", Tier.ZEEK),
    Column("log_dns_query", pl.String(), "", f"name of the first DNS question{_LOGS}", Tier.ZEEK),
    Column("log_dns_type", pl.String(), "", f"type that it asks for, such as A or TXT{_LOGS}", Tier.ZEEK),
    Column("log_dns_answer", pl.String(), "", f"first response code, such as NOERROR{_LOGS}", Tier.ZEEK),
    Column("log_http_method", pl.String(), "", f"method of the first HTTP request{_LOGS}", Tier.ZEEK),
    Column("log_http_host", pl.String(), "", f"host that it asks{_LOGS}", Tier.ZEEK),
    Column("log_http_uri", pl.String(), "", f"its URI{_LOGS}", Tier.ZEEK),
    Column("log_http_user_agent", pl.String(), "", f"its user agent{_LOGS}", Tier.ZEEK),
    Column("log_http_status", pl.String(), "", f"status of its answer, such as 200{_LOGS}", Tier.ZEEK),
    Column("log_tls_version", pl.String(), "", f"version agreed on, such as TLS 1.3{_LOGS}", Tier.ZEEK),
    Column("log_tls_sni", pl.String(), "", f"server name that the originator asks for{_LOGS}", Tier.ZEEK),
)
"""What Zeek's or Suricata's logs tell of a flow beside FLOW_COLUMNS; only frames that were read from logs hold these.
Text is as logged, control bytes as \\xNN."""
