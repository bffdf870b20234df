"""What is read of Zeek's logs, and how a line of conn.log becomes a flow."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kshot.records.flows import CONN_STATES
from kshot.sources.json_paths import JsonPaths
from kshot.sources.log_flows import ETHERNET_BYTES, HEADER_BYTES, VLAN_TAG_BYTES, flow_frame, told_by
from kshot.sources.log_lines import LineBlock, Parsed, parse_block
from kshot.sources.log_numbers import LATEST_NANOSECONDS
from kshot.sources.log_values import (
    ADDRESS,
    COUNT,
    OPEN_WORD,
    PORT,
    SECONDS,
    TEXT,
    TIME,
    UNSET,
    WORD,
    Field,
    FieldTable,
    words_of,
)

LOGS = ("conn", "http", "dns", "ssl")
"""The logs that are read, by the names Zeek gives them."""
CONN, HTTP, DNS, SSL = range(4)
_OF_CONN, _OF_HTTP, _OF_DNS, _OF_SSL = (1 << log for log in range(4))
_OF_FACTS = _OF_HTTP | _OF_DNS | _OF_SSL

FIELDS = FieldTable.of(
    (
        Field("_path", OPEN_WORD, words=LOGS, logs=15),
        Field("uid", TEXT, logs=_OF_FACTS | _OF_CONN),
        Field("ts", TIME, needed=True),
        Field("id.orig_h", ADDRESS, needed=True),
        Field("id.orig_p", PORT, needed=True),
        Field("id.resp_h", ADDRESS, needed=True),
        Field("id.resp_p", PORT, needed=True),
        Field("proto", WORD, needed=True, words=("tcp", "udp", "icmp", "sctp", "unknown_transport")),
        Field("ip_proto", COUNT),
        Field("duration", SECONDS),
        Field("orig_bytes", COUNT),
        Field("resp_bytes", COUNT),
        Field("conn_state", WORD, words=CONN_STATES),
        Field("orig_pkts", COUNT, needed=True),
        Field("resp_pkts", COUNT, needed=True),
        Field("orig_ip_bytes", COUNT),
        Field("resp_ip_bytes", COUNT),
        Field("vlan", COUNT),
        Field("inner_vlan", COUNT),
        Field("service", TEXT),
        Field("history", TEXT),
        Field("community_id", TEXT),
        Field("query", TEXT, logs=_OF_DNS),
        Field("qtype_name", TEXT, logs=_OF_DNS),
        Field("rcode_name", TEXT, logs=_OF_DNS),
        Field("method", TEXT, logs=_OF_HTTP),
        Field("host", TEXT, logs=_OF_HTTP),
        Field("uri", TEXT, logs=_OF_HTTP),
        Field("user_agent", TEXT, logs=_OF_HTTP),
        Field("status_code", TEXT, logs=_OF_HTTP),
        Field("version", TEXT, logs=_OF_SSL),
        Field("server_name", TEXT, logs=_OF_SSL),
    )
)
FACTS_OF = {
    HTTP: told_by("http", "uid", "method", "host", "uri", "user_agent", "status_code"),
    DNS: told_by("dns", "uid", "query", "qtype_name", "rcode_name"),
    SSL: told_by("tls", "uid", "version", "server_name"),
}
"""By log: name of LOG_COLUMNS to field."""
NEEDED_OF_CONN = tuple(wanted.name for wanted in FIELDS.fields if wanted.needed)
TELLING = (
    (CONN, ("orig_pkts", "conn_state")),
    (HTTP, ("method", "status_code", "uri")),
    (DNS, ("query", "qtype_name", "rcode_name")),
    (SSL, ("server_name", "version")),
)
"""Fields by which a JSON log without `_path` is told from the others."""

PROTOCOLS = np.array([6, 17, 1, 132, 255])
"""IP protocol numbers of `proto`; 255 (reserved, RFC 3232) where Zeek knows no more than unknown_transport."""
_ICMP_PAIRED = np.zeros((2, 256), bool)
_ICMP_PAIRED[0, [0, 8, 9, 10, 13, 14, 15, 16, 17, 18]] = True
_ICMP_PAIRED[1, [128, 129, 130, 131, 133, 134, 135, 136, 139, 140, 144, 145]] = True
"""ICMP and ICMPv6 types of a request or its reply: Zeek puts the other's type where else the code stands."""


def _json_paths() -> JsonPaths:
    paths: dict[tuple[str, ...], int] = {(wanted.name,): column for column, wanted in enumerate(FIELDS.fields)}
    for name in ("orig_h", "orig_p", "resp_h", "resp_p"):  # some shippers nest what Zeek writes with a dot
        paths["id", name] = FIELDS.index(f"id.{name}")
    return JsonPaths.of(paths)


PATHS = _json_paths()


def json_logs(parsed: Parsed) -> NDArray[np.int64]:
    """Tell which log each JSON line is of: by `_path`, else by the fields it has; -1 for none that is read."""
    logs = np.full(len(parsed.logs), -1, np.int64)
    for log, names in reversed(TELLING):
        for name in names:
            logs[parsed.spans.begins[:, FIELDS.index(name)] >= 0] = log
    path = FIELDS.index("_path")
    if (parsed.spans.begins[:, path] >= 0).any():
        named = words_of(parsed.block.buffer, parsed.spans, path, FIELDS.traits)
        logs = np.where(named != UNSET, np.maximum(named, -1), logs)
    return logs


def facts_of(parsed: Parsed, log: int) -> pl.DataFrame:
    """Return what the lines of http, dns or ssl tell, with their log_uid."""
    facts = parsed.text(FACTS_OF[log], parsed.rows(log))
    if log == SSL:  # TLSv12 is TLS 1.2, as Suricata writes it
        version = pl.col("log_tls_version").str.replace(r"^(D?TLS)v1(\d)$", "$1 1.$2")
        return facts.with_columns(version)
    return facts


def connections_of(parsed: Parsed) -> pl.DataFrame:
    """Return the flows that the lines of conn.log tell of."""
    rows = parsed.rows(CONN)
    read = {wanted.name: parsed.numbers(wanted.name, rows) for wanted in FIELDS.fields if wanted.kind != TEXT}
    names = {"originator": "id.orig_h", "responder": "id.resp_h", "community_id": "community_id"}
    logged = {"log_uid": "uid", "log_service": "service", "log_history": "history"}
    text = parsed.text(names | logged, rows)
    is_v6 = read["id.orig_h"] == 6
    protocol = PROTOCOLS[read["proto"]]
    protocol = np.where((protocol == 1) & is_v6, 58, protocol)
    known = (protocol == 255) & (read["ip_proto"] >= 0) & (read["ip_proto"] < 256)
    protocol = np.where(known, read["ip_proto"], protocol)
    length = np.maximum(read["duration"], 0)
    length = np.where(length > LATEST_NANOSECONDS - read["ts"], 0, length)
    outer, inner = read["vlan"], read["inner_vlan"]
    vlan = np.where(inner > 0, np.maximum(outer, 0) * 4096 + inner, np.maximum(outer, 0)) & 0xFFFFFF
    tags = (outer > 0).astype(np.int64) + (inner > 0)
    is_icmp = (protocol == 1) | (protocol == 58)
    types = np.minimum(read["id.orig_p"], 255)
    paired = is_icmp & _ICMP_PAIRED[is_v6.astype(np.int64), types]
    numbers = {
        "orig_port": read["id.orig_p"],
        "resp_port": np.where(paired, 0, read["id.resp_p"]),
        "protocol": protocol,
        "vlan": vlan,
    }
    sent = text["log_history"].fill_null("")
    for side, letter in (("orig", "D"), ("resp", "d")):
        packets, ip_bytes, payload = (read[f"{side}_{what}"] for what in ("pkts", "ip_bytes", "bytes"))
        headers = packets * (HEADER_BYTES[protocol] + np.where(is_v6, 40, 20))
        ip_bytes = np.where(ip_bytes >= 0, ip_bytes, headers + np.maximum(payload, 0))
        most = np.maximum(ip_bytes - headers, 0)
        data = (protocol != 6) | sent.str.contains(letter, literal=True).to_numpy()
        numbers[f"{side}_packets"] = packets
        numbers[f"{side}_wire_bytes"] = ip_bytes + packets * (ETHERNET_BYTES + VLAN_TAG_BYTES * tags)
        numbers[f"{side}_bytes"] = np.where(payload >= 0, np.minimum(payload, most), np.where(data, most, 0))
    return flow_frame(text, read["ts"], length, read["conn_state"], numbers)


def no_connections() -> pl.DataFrame:
    """Return the frame of `connections_of` without a row."""
    empty = LineBlock.of(bytearray(64), 0, 0, 1)
    return connections_of(parse_block(empty, FIELDS, PATHS, json_logs))
