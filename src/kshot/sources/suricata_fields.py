"""What is read of Suricata's EVE events, and how a flow event becomes a flow."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.flows import CONN_STATES
from kshot.sources.json_paths import JsonPaths
from kshot.sources.log_flows import ETHERNET_BYTES, HEADER_BYTES, VLAN_TAG_BYTES, flow_frame, told_by
from kshot.sources.log_lines import LineBlock, Parsed, parse_block
from kshot.sources.log_values import (
    ADDRESS,
    COUNT,
    HEX,
    OPEN_WORD,
    PORT,
    TAGS,
    TEXT,
    TIME,
    UNSET,
    Field,
    FieldTable,
    words_of,
)

EVENTS = ("flow", "http", "dns", "tls")
"""The event types that are read."""
FLOW, HTTP, DNS, TLS = range(4)
_OF_HTTP, _OF_DNS, _OF_TLS = 1 << HTTP, 1 << DNS, 1 << TLS

_PROTOCOLS = {
    "TCP": 6, "UDP": 17, "ICMP": 1, "IPv6-ICMP": 58, "IPV6-ICMP": 58, "SCTP": 132, "GRE": 47, "ESP": 50, "AH": 51,
    "IGMP": 2, "IP": 4, "IPv6": 41, "OSPFIGP": 89, "OSPF": 89, "PIM": 103, "VRRP": 112, "L2TP": 115, "EIGRP": 88,
    "IPIP": 94, "ETHERIP": 97, "UDPLite": 136,
}  # fmt: skip
"""IP protocol numbers by the names that Suricata prints; others become 255 (reserved, RFC 3232)."""
_TCP_STATES = (
    "none", "syn_sent", "syn_recv", "established", "fin_wait1", "fin_wait2", "time_wait", "last_ack", "close_wait",
    "closing", "closed",
)  # fmt: skip
_FLOW_STATES = ("new", "established", "closed", "bypassed", "local_bypassed", "capture_bypassed")

FIELDS = FieldTable.of(
    (
        Field("event_type", OPEN_WORD, needed=True, words=EVENTS, logs=15),
        Field("flow_id", TEXT, logs=15),
        Field("src_ip", ADDRESS, needed=True),
        Field("src_port", PORT),
        Field("dest_ip", ADDRESS, needed=True),
        Field("dest_port", PORT),
        Field("proto", OPEN_WORD, needed=True, words=tuple(_PROTOCOLS)),
        Field("icmp_type", COUNT),
        Field("icmp_code", COUNT),
        Field("vlan", TAGS),
        Field("flow.pkts_toserver", COUNT, needed=True),
        Field("flow.pkts_toclient", COUNT, needed=True),
        Field("flow.bytes_toserver", COUNT, needed=True),
        Field("flow.bytes_toclient", COUNT, needed=True),
        Field("flow.start", TIME, needed=True),
        Field("flow.end", TIME, needed=True),
        Field("flow.state", OPEN_WORD, words=_FLOW_STATES),
        Field("tcp.tcp_flags_ts", HEX),
        Field("tcp.tcp_flags_tc", HEX),
        Field("tcp.state", OPEN_WORD, words=_TCP_STATES),
        Field("app_proto", TEXT),
        Field("community_id", TEXT),
        Field("dns.rrname", TEXT, logs=_OF_DNS),
        Field("dns.rrtype", TEXT, logs=_OF_DNS),
        Field("dns.rcode", TEXT, logs=_OF_DNS),
        Field("http.http_method", TEXT, logs=_OF_HTTP),
        Field("http.hostname", TEXT, logs=_OF_HTTP),
        Field("http.url", TEXT, logs=_OF_HTTP),
        Field("http.http_user_agent", TEXT, logs=_OF_HTTP),
        Field("http.status", TEXT, logs=_OF_HTTP),
        Field("tls.version", TEXT, logs=_OF_TLS),
        Field("tls.sni", TEXT, logs=_OF_TLS),
    )
)
FACTS_OF = {
    HTTP: told_by(
        "http", "flow_id", "http.http_method", "http.hostname", "http.url", "http.http_user_agent", "http.status"
    ),
    DNS: told_by("dns", "flow_id", "dns.rrname", "dns.rrtype", "dns.rcode"),
    TLS: told_by("tls", "flow_id", "tls.version", "tls.sni"),
}
"""By event: name of LOG_COLUMNS to field."""


def _paths() -> JsonPaths:
    paths = {tuple(wanted.name.split(".")): column for column, wanted in enumerate(FIELDS.fields)}
    for name in ("rrname", "rrtype"):  # from version 3 of its DNS events (Suricata 8) on, questions are a list
        paths["dns", "queries", name] = FIELDS.index(f"dns.{name}")
    return JsonPaths.of(paths, whole=(FIELDS.index("vlan"),))


PATHS = _paths()

_NUMBERS = np.array([*_PROTOCOLS.values(), 255])
_SYN_OPTION_BYTES = 20
"""What Linux, macOS and the BSDs send: MSS, SACK permitted, timestamps, window scale (RFC 9293, 2018, 7323)."""
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16


def event_of(parsed: Parsed) -> NDArray[np.int64]:
    """Tell which of `EVENTS` each line is, -1 for others; a line without event_type counts as a flow, and is bad."""
    found = words_of(parsed.block.buffer, parsed.spans, FIELDS.index("event_type"), FIELDS.traits)
    return np.where(found == UNSET, FLOW, np.maximum(found, -1))


def facts_of(parsed: Parsed, event: int) -> pl.DataFrame:
    """Return what http, dns or tls events tell, with their log_uid."""
    facts = parsed.text(FACTS_OF[event], parsed.rows(event))
    if event == TLS:
        version = pl.col("log_tls_version").replace({"TLSv1": "TLS 1.0", "UNDETERMINED": None})
        return facts.with_columns(version)
    return facts


def flows_of(parsed: Parsed) -> pl.DataFrame:
    """Return the flows that flow events tell of."""
    rows = parsed.rows(FLOW)
    read = {wanted.name: parsed.numbers(wanted.name, rows) for wanted in FIELDS.fields if wanted.kind != TEXT}
    names = {"originator": "src_ip", "responder": "dest_ip", "community_id": "community_id"}
    text = parsed.text(names | {"log_uid": "flow_id", "log_service": "app_proto"}, rows)
    protocol = _NUMBERS[np.where(read["proto"] >= 0, read["proto"], len(_NUMBERS) - 1)]
    is_icmp = (protocol == 1) | (protocol == 58)
    length = np.maximum(read["flow.end"] - read["flow.start"], 0)
    numbers = {
        "orig_port": np.where(is_icmp, read["icmp_type"], read["src_port"]),
        "resp_port": np.where(is_icmp, read["icmp_code"], read["dest_port"]),
        "protocol": protocol,
        "vlan": np.maximum(read["vlan"], 0),
    }
    for name in ("orig_port", "resp_port"):
        numbers[name] = np.clip(numbers[name], 0, 65_535)
    tags = (read["vlan"] > 0).astype(np.int64) + (read["vlan"] > 4095)
    frame_header = ETHERNET_BYTES + VLAN_TAG_BYTES * tags + np.where(read["src_ip"] == 6, 40, 20)
    for side, way, flags in (("orig", "toserver", "ts"), ("resp", "toclient", "tc")):
        packets, wire_bytes = read[f"flow.pkts_{way}"], read[f"flow.bytes_{way}"]
        numbers[f"{side}_packets"] = packets
        numbers[f"{side}_wire_bytes"] = wire_bytes
        most = np.maximum(wire_bytes - packets * (frame_header + HEADER_BYTES[protocol]), 0)
        numbers[f"{side}_bytes"] = np.where(protocol == 6, _tcp_payload(most, read[f"tcp.tcp_flags_{flags}"]), most)
    service = pl.col("log_service")
    text = text.with_columns(pl.when((service != "failed") & (service != "unknown")).then(service))
    states = _conn_state(read, protocol, numbers["orig_bytes"] + numbers["resp_bytes"])
    return flow_frame(text, read["flow.start"], length, states, numbers)


def _tcp_payload(most: NDArray[np.int64], flags: NDArray[np.int64]) -> NDArray[np.int64]:
    """Payload bytes of a direction, from its bytes beyond nominal headers and its flags.

    Every sender sets PSH on the last segment of what it was given (RFC 9293, 3.9.1.2), so that without it there was
    none: what is beyond the headers is options and padding. With it, the options of the SYN are taken off.
    """
    known = flags >= 0
    pushed = (flags & _PSH > 0) | ~known
    least = (pushed & known).astype(np.int64)
    with_syn = known & (flags & _SYN > 0)
    return np.where(pushed, np.maximum(most - _SYN_OPTION_BYTES * with_syn, np.minimum(least, most)), 0)


def _conn_state(
    read: dict[str, NDArray[np.int64]], protocol: NDArray[np.int64], payload: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Zeek's connection state, from flags seen in each direction: what was sent is known, in which order is not.

    After Zeek's base/protocols/conn/main.zeek. Coarser than Zeek's: with a FIN from both ends it is SF even if an RST
    came between; with an RST from both it counts as the responder's. Without flags (a flow log of other protocols'
    settings) Suricata's own TCP state decides, then its flow state.
    """
    orig, resp = read["tcp.tcp_flags_ts"], read["tcp.tcp_flags_tc"]
    known = (orig >= 0) & (resp >= 0)
    answered = read["flow.pkts_toclient"] > 0
    syn, synned = orig & _SYN > 0, resp & _SYN > 0
    fin, finned = orig & _FIN > 0, resp & _FIN > 0
    reset, was_reset = orig & _RST > 0, resp & _RST > 0
    tcp = np.select(
        [
            fin & finned,
            was_reset & syn & ~synned,
            was_reset & reset & (payload == 0),
            was_reset & ~syn,
            was_reset,
            reset & synned,
            reset & syn,
            reset,
            fin,
            finned & syn,
            finned & synned,
            syn & ~answered,
            syn & synned & (orig & _ACK > 0),
        ],
        [
            *_codes("SF", "REJ", "REJ", "RSTRH", "RSTR", "RSTO", "RSTOS0", "OTH"),
            np.where(synned, *_codes("S2", "SH")),
            *_codes("S3", "SHR", "S0", "S1"),
        ],
        *_codes("OTH"),
    )
    by_tcp = np.array(_codes("OTH", "S0", "OTH", "S1", "S2", "S2", "SF", "SF", "S3", "SF", "SF", "OTH"))
    by_flow = np.array(_codes("OTH", "S1", "SF", "S1", "S1", "S1"))
    state = np.where(answered | (read["flow.state"] != 0), by_flow[np.maximum(read["flow.state"], 0)], *_codes("S0"))
    named = read["tcp.state"]
    tcp = np.where(known, tcp, np.where(named > 0, by_tcp[np.maximum(named, 0)], state))
    udp = np.where(read["flow.pkts_toserver"] > 0, np.where(answered, *_codes("SF", "S0")), *_codes("SHR"))
    return np.where(protocol == 6, tcp, np.where((protocol == 17) | (protocol == 136), udp, *_codes("OTH")))


def _codes(*states: str) -> list[int]:
    return [CONN_STATES.index(state) for state in states]


def no_flows() -> pl.DataFrame:
    """Return the frame of `flows_of` without a row."""
    return flows_of(parse_block(LineBlock.of(bytearray(64), 0, 0, 1), FIELDS, PATHS, event_of))
