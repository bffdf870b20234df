"""Writes the logs that Zeek and Suricata would write of metered flows, and times their readers."""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import polars as pl

from kshot.features.log_facts import SERVICE_OF_LOG
from kshot.features.payload import payload_features
from kshot.records.flows import TCP_FLAGS
from kshot.sources.suricata import read_suricata
from kshot.sources.zeek import read_zeek

CONN_FIELDS = (
    ("ts", "time"), ("uid", "string"), ("id.orig_h", "addr"), ("id.orig_p", "port"), ("id.resp_h", "addr"),
    ("id.resp_p", "port"), ("proto", "enum"), ("service", "string"), ("duration", "interval"), ("orig_bytes", "count"),
    ("resp_bytes", "count"), ("conn_state", "string"), ("local_orig", "bool"), ("local_resp", "bool"),
    ("missed_bytes", "count"), ("history", "string"), ("orig_pkts", "count"), ("orig_ip_bytes", "count"),
    ("resp_pkts", "count"), ("resp_ip_bytes", "count"), ("tunnel_parents", "set[string]"), ("ip_proto", "count"),
)  # fmt: skip
"""Zeek 8's conn.log, in its order."""
_PROTO = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}
_EVE_PROTO = {6: "TCP", 17: "UDP", 1: "ICMP", 58: "IPv6-ICMP", 132: "SCTP", 47: "GRE"}


_QUERIES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV",
            64: "SVCB", 65: "HTTPS", 255: "*"}  # fmt: skip
_ANSWERS = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
_SENSOR_NAMES = {
    "tls": "ssl", "kerberos": "krb", "dcerpc": "dce_rpc", "postgres": "postgresql", "rpc": "nfs", "ipsec": "ike",
    "none": None, "unknown": None,
}  # fmt: skip


def _logged_services(flows: pl.DataFrame) -> list[str | None] | None:
    """What a sensor would call each flow's service; None for flows that were made without payload."""
    if "orig_payload" not in flows.columns:
        return None
    return [_SENSOR_NAMES.get(name, name if name in SERVICE_OF_LOG else None) for name in payload_features(flows)[0]]


def conn_records(flows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Give the records of conn.log for a metered flow frame; what Zeek leaves unset is None.

    Zeek logs neither duration nor payload bytes of a connection whose packets all came at one instant.
    """
    services = _logged_services(flows)
    for row, flow in enumerate(flows.iter_rows(named=True)):
        tags = 0 if flow["vlan"] == 0 else 1 if flow["vlan"] < 4096 else 2
        instant = flow["first_time"] == flow["last_time"]
        letters = ("D" if flow["orig_bytes"] else "") + ("d" if flow["resp_bytes"] else "")
        yield {
            "ts": flow["first_time"].timestamp(),
            "uid": f"C{row:x}",
            "id.orig_h": flow["originator"],
            "id.orig_p": flow["orig_port"],
            "id.resp_h": flow["responder"],
            "id.resp_p": flow["resp_port"],
            "proto": _PROTO.get(flow["protocol"], "unknown_transport"),
            "service": None if services is None else services[row],
            "duration": None if instant else round(flow["duration_seconds"], 6),
            "orig_bytes": None if instant else flow["orig_bytes"],
            "resp_bytes": None if instant else flow["resp_bytes"],
            "conn_state": flow["conn_state"],
            "history": letters or None,
            "orig_pkts": flow["orig_packets"],
            "orig_ip_bytes": flow["orig_wire_bytes"] - (14 + 4 * tags) * flow["orig_packets"],
            "resp_pkts": flow["resp_packets"],
            "resp_ip_bytes": flow["resp_wire_bytes"] - (14 + 4 * tags) * flow["resp_packets"],
            "ip_proto": flow["protocol"],
        }


def fact_records(flows: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Give the records of http.log, dns.log and ssl.log that the first payload bytes of metered flows allow.

    As Zeek writes them: names in small letters, URIs decoded. What lies beyond the bytes that the meter keeps is not
    told, nor what ssl.log would say beyond a session's being TLS.
    """
    records: dict[str, list[dict[str, Any]]] = {"http": [], "dns": [], "ssl": []}
    services = payload_features(flows)[0].to_list()
    for row, (flow, service) in enumerate(zip(flows.iter_rows(named=True), services, strict=True)):
        up, down = flow["orig_payload"] or b"", flow["resp_payload"] or b""
        known = {"ts": flow["first_time"].timestamp(), "uid": f"C{row:x}", "id.orig_h": flow["originator"]}
        known |= {"id.orig_p": flow["orig_port"], "id.resp_h": flow["responder"], "id.resp_p": flow["resp_port"]}
        if service == "http":
            records["http"].append(known | _http_facts(up, down))
        elif service == "dns":
            skip = 2 if flow["protocol"] == 6 else 0
            records["dns"].append(known | {"proto": _PROTO[flow["protocol"]]} | _dns_facts(up[skip:], down[skip:]))
        elif service == "tls":
            records["ssl"].append(known | {"version": "TLSv12"})
    return records


def eve_fact_records(flows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Give Suricata's http, dns and tls events of metered flows, as far as their first payload bytes allow."""
    named = {"http": ("http", {"method": "http_method", "uri": "url", "status_code": "status"}),
             "dns": ("dns", {"query": "rrname", "qtype_name": "rrtype", "rcode_name": "rcode"}),
             "ssl": ("tls", {"version": "version"})}  # fmt: skip
    for log, records in fact_records(flows).items():
        event, names = named[log]
        for record in records:
            facts = {ours: record[zeeks] for zeeks, ours in names.items() if zeeks in record}
            if "version" in facts:
                facts["version"] = "TLS 1.2"
            yield {
                "timestamp": _iso(datetime.fromtimestamp(record["ts"], UTC)),
                "flow_id": 1_000_000_000_000 + int(record["uid"][1:], 16),
                "event_type": event,
                "src_ip": record["id.orig_h"],
                "dest_ip": record["id.resp_h"],
                "proto": _EVE_PROTO.get(17 if record.get("proto") == "udp" else 6),
                event: facts,
            }


def _http_facts(up: bytes, down: bytes) -> dict[str, Any]:
    method, _, rest = up.partition(b" ")
    facts: dict[str, Any] = {}
    if rest and len(method) < 12:
        uri = re.split(rb"[ \r\n]", rest, maxsplit=1)[0]
        facts |= {"method": method.decode("latin-1"), "uri": _escaped(unquote_to_bytes(uri))}
    if down.startswith(b"HTTP/") and down[9:12].isdigit():
        facts["status_code"] = int(down[9:12])
    return facts


def _dns_facts(up: bytes, down: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    message = up if len(up) >= 13 else down
    if len(message) >= 13 and message[4:6] != b"\0\0":
        labels, at = [], 12
        while at < len(message) and 0 < message[at] < 64:
            # What the window cuts off is padded, so that lengths stay as they were.
            label = message[at + 1 : at + 1 + message[at]].lower()
            labels.append(_escaped(label) + "?" * (message[at] - len(label)))
            at += message[at] + 1
        facts["query"] = ".".join(labels)
        if message[at : at + 1] == b"\0" and at + 2 < len(message):
            facts["qtype_name"] = _QUERIES.get(int.from_bytes(message[at + 1 : at + 3]), "OTHER")
    if len(down) >= 4 and down[2] & 0x80:
        facts["rcode_name"] = _ANSWERS.get(down[3] & 15, "YXDOMAIN")
    return facts


def _escaped(data: bytes) -> str:
    return "".join(chr(c) if 0x20 <= c < 0x7F and c not in (0x5C, 0x2C) else f"\\x{c:02x}" for c in data)


def tab_lines(records: Iterable[dict[str, Any]], fields: Iterable[tuple[str, str]], path: str) -> Iterator[str]:
    """Give the lines of a log as Zeek's ASCII writer writes it."""
    fields = list(fields)
    yield from ("#separator \\x09", "#set_separator\t,", "#empty_field\t(empty)", "#unset_field\t-", f"#path\t{path}")
    yield "#open\t2026-01-01-00-00-00"
    yield "\t".join(["#fields", *(name for name, _ in fields)])
    yield "\t".join(["#types", *(kind for _, kind in fields)])
    for record in records:
        values = ((record.get(name), kind) for name, kind in fields)
        yield "\t".join("-" if value is None else _text(value, kind) for value, kind in values)
    yield "#close\t2026-01-01-01-00-00"


def _text(value: Any, kind: str) -> str:
    return f"{value:.6f}" if kind in ("time", "interval") else str(value)


def json_lines(records: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Give the lines of a log as Zeek's JSON writer writes it: without what is unset."""
    for record in records:
        yield json.dumps({name: value for name, value in record.items() if value is not None}, separators=(",", ":"))


def eve_records(flows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Give Suricata's flow events for a metered flow frame."""
    services = _logged_services(flows)
    for row, flow in enumerate(flows.iter_rows(named=True)):
        event: dict[str, Any] = {
            "timestamp": _iso(flow["last_time"]),
            "flow_id": 1_000_000_000_000 + row,
            "in_iface": "eth0",
            "event_type": "flow",
            "src_ip": flow["originator"],
            "dest_ip": flow["responder"],
            "proto": _EVE_PROTO.get(flow["protocol"], f"{flow['protocol']:03d}"),
            "flow": {
                "pkts_toserver": flow["orig_packets"],
                "pkts_toclient": flow["resp_packets"],
                "bytes_toserver": flow["orig_wire_bytes"],
                "bytes_toclient": flow["resp_wire_bytes"],
                "start": _iso(flow["first_time"]),
                "end": _iso(flow["last_time"]),
                "age": int(flow["duration_seconds"]),
                "state": "established" if flow["resp_packets"] else "new",
                "reason": "timeout",
                "alerted": False,
            },
        }
        if services is not None:
            event["app_proto"] = {"ssl": "tls", "krb": "krb5"}.get(services[row], services[row]) or "failed"
        if flow["vlan"]:
            event["vlan"] = [flow["vlan"]] if flow["vlan"] < 4096 else [flow["vlan"] >> 12, flow["vlan"] & 4095]
        if flow["protocol"] in (1, 58):
            event |= {"icmp_type": flow["orig_port"], "icmp_code": flow["resp_port"]}
        else:
            event |= {"src_port": flow["orig_port"], "dest_port": flow["resp_port"]}
        if flow["protocol"] == 6:
            ways = [
                sum(1 << bit for bit, flag in enumerate(TCP_FLAGS) if flow[f"{side}_{flag}_packets"])
                for side in ("orig", "resp")
            ]
            flags = {"tcp_flags": f"{ways[0] | ways[1]:02x}", "tcp_flags_ts": f"{ways[0]:02x}"}
            event["tcp"] = {**flags, "tcp_flags_tc": f"{ways[1]:02x}", "syn": True, "ack": True, "state": "closed"}
        yield event


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def made_flows(count: int) -> pl.DataFrame:
    """Make `count` flows as a meter would give them, of addresses, ports and sizes as varied as a network's."""
    number = pl.int_range(count, dtype=pl.Int64)
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    packets = number * 7919 % 40 + 2
    size = number * 104_729 % 9000
    moment = pl.Datetime("us", "UTC")
    host = (number * 6_364_136 % 60_000).cast(pl.String)
    return pl.select(
        (start + number * 350).cast(moment).alias("first_time"),
        (start + number * 350 + number * 31 % 9_000_000 + 1).cast(moment).alias("last_time"),
        ((number * 31 % 9_000_000 + 1) * 1e-6).alias("duration_seconds"),
        ("10." + (number * 31 % 200).cast(pl.String) + "." + (number * 17 % 250).cast(pl.String) + ".7").alias(
            "originator"
        ),
        ("203.0." + host.str.head(2) + "." + host.str.tail(2).str.strip_chars_start("0").replace("", "1")).alias(
            "responder"
        ),
        (number * 911 % 64_000 + 1024).alias("orig_port"),
        pl.when(number % 3 == 0).then(53).otherwise(443).alias("resp_port"),
        pl.when(number % 3 == 0).then(17).otherwise(6).alias("protocol"),
        pl.lit(0).alias("vlan"),
        pl.lit("SF").alias("conn_state"),
        packets.alias("orig_packets"),
        packets.alias("resp_packets"),
        size.alias("orig_bytes"),
        (3 * size).alias("resp_bytes"),
        (size + 66 * packets).alias("orig_wire_bytes"),
        (3 * size + 66 * packets).alias("resp_wire_bytes"),
        *(
            pl.lit(int(flag in ("syn", "fin", "psh", "ack"))).alias(f"{side}_{flag}_packets")
            for side in ("orig", "resp")
            for flag in TCP_FLAGS
        ),
    )


def main() -> None:
    """Print records a second of each reader, the best of some runs."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--runs", type=int, default=5)
    options = arguments.parse_args()
    part = made_flows(min(options.records, 100_000))
    repeats = -(-options.records // part.height)
    logs = {
        "conn.log, TSV": (read_zeek, list(tab_lines(conn_records(part), CONN_FIELDS, "conn"))[:-1], 8),
        "conn.log, JSON": (read_zeek, list(json_lines(conn_records(part))), 0),
        "eve.json": (read_suricata, [json.dumps(e, separators=(",", ":")) for e in eve_records(part)], 0),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (read, lines, headers) in logs.items():
            path = Path(folder, "conn.log")
            body = "\n".join(lines[headers:]) + "\n"
            with path.open("w") as file:
                file.write("".join(line + "\n" for line in lines[:headers]))
                for _ in range(repeats):
                    file.write(body)
            best = cpu = float("inf")
            for _ in range(options.runs):
                began, began_cpu = time.perf_counter(), time.process_time()
                records = read([path]).records
                best = min(best, time.perf_counter() - began)
                cpu = min(cpu, time.process_time() - began_cpu)
            size = path.stat().st_size
            print(
                f"{name:15} {records:9,} records of {size / records:3.0f} bytes: {records / best:9,.0f} a second,"
                f" {size / best / 1e6:4.0f} MB/s, {records / cpu:9,.0f} a CPU second"
            )


if __name__ == "__main__":
    main()
