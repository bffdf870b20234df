"""What a flow tells by itself: counters, shares, rates, flags, gaps and windows, without its packets."""

from __future__ import annotations

import polars as pl

from kshot.features.declare import SIDES, both, category, number, truth
from kshot.records.columns import Column, Tier
from kshot.records.flows import CONN_STATES

TRANSPORTS = ("tcp", "udp", "icmp", "sctp", "other")
"""Kinds of transport; ICMP and ICMPv6 are one."""
_TRANSPORT_OF = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp", 132: "sctp"}
_TRANSPORT_HEADER_BYTES = {6: 20, 17: 8, 1: 8, 58: 8, 132: 28}
"""Without options (RFC 9293, 768, 792, 4443; SCTP's 12 and one DATA chunk's 16, RFC 9260)."""
_COUNTED_FLAGS = ("syn", "fin", "rst")
_SHARED_FLAGS = ("psh", "ack", "urg")

COLUMNS: tuple[Column, ...] = (
    category("transport", TRANSPORTS, "kind of transport", Tier.NETFLOW),
    number("flow_seconds", "seconds", "from its first packet to its last", Tier.NETFLOW),
    *both("packets_from_{}", "packets", "packets from the {}", Tier.NETFLOW),
    *both("ip_bytes_from_{}", "bytes", "payload and nominal IP and transport headers from the {}", Tier.NETFLOW),
    *both("ip_bytes_per_packet_from_{}", "bytes", "the same for the {}'s mean packet", Tier.NETFLOW),
    number("packet_share_from_orig", "1", "the originator's share of the packets", Tier.NETFLOW),
    number("ip_byte_share_from_orig", "1", "the originator's share of the IP bytes", Tier.NETFLOW),
    number("packets_per_second", "1/s", "packets both ways over its duration; null for one instant", Tier.NETFLOW),
    number("ip_bytes_per_second", "bytes/s", "IP bytes both ways over its duration; null likewise", Tier.NETFLOW),
    truth("is_answered", "whether the responder sent anything", Tier.NETFLOW),
    category("connection_state", CONN_STATES, "Zeek's connection state", Tier.ZEEK),
    *both("payload_bytes_from_{}", "bytes", "transport payload from the {}", Tier.ZEEK),
    *both("payload_bytes_per_packet_from_{}", "bytes", "mean payload of the {}'s packets", Tier.ZEEK),
    number("payload_share_from_orig", "1", "the originator's share of the payload; null without any", Tier.ZEEK),
    number("payload_share_of_bytes", "1", "payload over IP bytes, both ways", Tier.ZEEK),
    *(
        column
        for flag in _COUNTED_FLAGS
        for column in both(
            f"{flag}_packets_from_{{}}", "packets", f"packets with {flag.upper()} from the {{}}", Tier.PACKETS
        )
    ),
    *(
        column
        for flag in _SHARED_FLAGS
        for column in both(
            f"{flag}_share_from_{{}}", "1", f"share of the {{}}'s packets with {flag.upper()}", Tier.PACKETS
        )
    ),
    *both("window_from_{}", "bytes", "first TCP window of the {}, unscaled", Tier.PACKETS),
    *both("size_std_from_{}", "bytes", "standard deviation of the {}'s packet sizes; null below 2", Tier.PACKETS),
    *both("size_range_from_{}", "bytes", "greatest less least size of the {}'s packets; null below 2", Tier.PACKETS),
    *both("gap_min_from_{}", "seconds", "least gap between the {}'s packets", Tier.PACKETS),
    *both("gap_mean_from_{}", "seconds", "mean gap between the {}'s packets", Tier.PACKETS),
    *both("gap_max_from_{}", "seconds", "greatest gap between the {}'s packets", Tier.PACKETS),
    *both("gap_variation_from_{}", "1", "standard deviation over mean of the {}'s gaps; null below 3", Tier.PACKETS),
)
"""`ip_bytes` come from payload and packets where the input tells payload, so that no link header, padding or TCP
option of the capturing place enters; a NetFlow exporter's own count is of the same layer."""

NEEDED: dict[Tier, tuple[str, ...]] = {
    Tier.NETFLOW: ("duration_seconds", "protocol", "originator", *(f"{d}_{c}" for d, _ in SIDES for c in ("packets",))),
    Tier.ZEEK: ("conn_state", *(f"{d}_bytes" for d, _ in SIDES)),
    Tier.PACKETS: tuple(
        f"{side}_{column}"
        for side, _ in SIDES
        for column in (
            *(f"{flag}_packets" for flag in (*_COUNTED_FLAGS, *_SHARED_FLAGS)),
            "window_first_bytes",
            *(f"size_{s}_bytes" for s in ("min", "max", "std")),
            *(f"gap_{s}_seconds" for s in ("min", "mean", "max", "std")),
        )
    ),
}
"""Flow columns read here, by the tier whose features need them."""


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    return pl.when(whole > 0).then(part / whole)


def _netflow_expressions(payload_known: bool) -> list[pl.Expr]:
    protocol = pl.col("protocol")
    is_v6 = pl.col("originator").str.contains(":", literal=True).fill_null(False)
    header_bytes = protocol.replace_strict(_TRANSPORT_HEADER_BYTES, default=0, return_dtype=pl.Float64) + (
        pl.when(is_v6).then(40.0).otherwise(20.0)
    )
    packets = {d: pl.col(f"{d}_packets").cast(pl.Float64) for d, _ in SIDES}
    if payload_known:
        ip_bytes = {d: pl.col(f"{d}_bytes").cast(pl.Float64) + packets[d] * header_bytes for d, _ in SIDES}
    else:
        ip_bytes = {d: pl.col(f"{d}_wire_bytes").cast(pl.Float64) for d, _ in SIDES}
    seconds = pl.col("duration_seconds")
    all_packets, all_bytes = packets["orig"] + packets["resp"], ip_bytes["orig"] + ip_bytes["resp"]
    return [
        protocol.replace_strict(_TRANSPORT_OF, default="other", return_dtype=pl.Enum(TRANSPORTS)).alias("transport"),
        seconds.alias("flow_seconds"),
        *(packets[d].alias(f"packets_from_{d}") for d, _ in SIDES),
        *(ip_bytes[d].alias(f"ip_bytes_from_{d}") for d, _ in SIDES),
        *(_share(ip_bytes[d], packets[d]).alias(f"ip_bytes_per_packet_from_{d}") for d, _ in SIDES),
        _share(packets["orig"], all_packets).alias("packet_share_from_orig"),
        _share(ip_bytes["orig"], all_bytes).alias("ip_byte_share_from_orig"),
        _share(all_packets, seconds).alias("packets_per_second"),
        _share(all_bytes, seconds).alias("ip_bytes_per_second"),
        (packets["resp"] > 0).alias("is_answered"),
    ]


def _zeek_expressions() -> list[pl.Expr]:
    payload = {d: pl.col(f"{d}_bytes").cast(pl.Float64) for d, _ in SIDES}
    both_ways = payload["orig"] + payload["resp"]
    # `ip_bytes_from_*` were made by the step before, so that payload over IP bytes needs no second formula.
    return [
        pl.col("conn_state").alias("connection_state"),
        *(payload[d].alias(f"payload_bytes_from_{d}") for d, _ in SIDES),
        *(_share(payload[d], pl.col(f"{d}_packets")).alias(f"payload_bytes_per_packet_from_{d}") for d, _ in SIDES),
        _share(payload["orig"], both_ways).alias("payload_share_from_orig"),
        _share(both_ways, pl.col("ip_bytes_from_orig") + pl.col("ip_bytes_from_resp")).alias("payload_share_of_bytes"),
    ]


def _packet_expressions() -> list[pl.Expr]:
    is_tcp = pl.col("protocol") == 6
    expressions: list[pl.Expr] = []
    for d, _ in SIDES:
        packets = pl.col(f"{d}_packets")
        several = packets >= 2
        for flag in _COUNTED_FLAGS:
            expressions.append(pl.when(is_tcp).then(pl.col(f"{d}_{flag}_packets")).alias(f"{flag}_packets_from_{d}"))
        for flag in _SHARED_FLAGS:
            share = _share(pl.col(f"{d}_{flag}_packets"), packets)
            expressions.append(pl.when(is_tcp).then(share).alias(f"{flag}_share_from_{d}"))
        size_range = pl.col(f"{d}_size_max_bytes") - pl.col(f"{d}_size_min_bytes")
        mean, std = pl.col(f"{d}_gap_mean_seconds"), pl.col(f"{d}_gap_std_seconds")
        expressions += [
            pl.col(f"{d}_window_first_bytes").alias(f"window_from_{d}"),
            pl.when(several).then(pl.col(f"{d}_size_std_bytes")).alias(f"size_std_from_{d}"),
            pl.when(several).then(size_range).alias(f"size_range_from_{d}"),
            *(pl.col(f"{d}_gap_{s}_seconds").alias(f"gap_{s}_from_{d}") for s in ("min", "mean", "max")),
            pl.when(packets >= 3).then(_share(std, mean)).alias(f"gap_variation_from_{d}"),
        ]
    return expressions


def flow_features(flows: pl.DataFrame, tier: Tier) -> pl.DataFrame:
    """Compute the columns of `COLUMNS` that `tier` can carry, one row a flow of `flows`."""
    columns = [column for column in COLUMNS if column.tier <= tier]
    frame = flows.with_columns(_netflow_expressions(payload_known=tier >= Tier.ZEEK))
    if tier >= Tier.ZEEK:
        frame = frame.with_columns(_zeek_expressions())
    if tier >= Tier.PACKETS:
        frame = frame.with_columns(_packet_expressions())
    return frame.select(_finite(column) for column in columns)


def _finite(column: Column) -> pl.Expr:
    """Cast to the declared type; what overflows or is not a number says nothing."""
    expression = pl.col(column.name)
    if isinstance(column.dtype, pl.Float32):
        expression = expression.cast(pl.Float32, strict=False)
        return pl.when(expression.is_finite()).then(expression).alias(column.name)
    return expression.cast(column.dtype)
