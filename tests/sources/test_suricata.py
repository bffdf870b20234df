"""Suricata's EVE events: joins, damaged lines, agreement with the flows they were made of."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.logs import eve_records, made_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.errors import InputError
from kshot.records.columns import Tier
from kshot.records.flows import FLOW_COLUMNS, FLOW_SCHEMA, LOG_COLUMNS
from kshot.sources.suricata import is_suricata, read_suricata

EVENT: dict[str, Any] = {
    "timestamp": "2024-01-01T00:00:10.000000+0000",
    "flow_id": 1234567890123,
    "event_type": "flow",
    "src_ip": "2001:0db8:0000:0000:0000:0000:0000:0001",
    "src_port": 50000,
    "dest_ip": "2001:0db8:0000:0000:0000:0000:0000:0002",
    "dest_port": 443,
    "proto": "TCP",
    "app_proto": "tls",
    "flow": {
        "pkts_toserver": 6,
        "pkts_toclient": 5,
        "bytes_toserver": 664,
        "bytes_toclient": 2390,
        "start": "2024-01-01T01:00:00.250000+0100",
        "end": "2024-01-01T01:00:01.750000+0100",
        "age": 1,
        "state": "closed",
        "reason": "timeout",
    },
    "tcp": {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b", "state": "closed"},
}


def write(path: Path, *events: Any) -> Path:
    text = "".join((event if isinstance(event, str) else json.dumps(event)) + "\n" for event in events)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def flow(**changes: Any) -> dict[str, Any]:
    return EVENT | changes | {"flow": EVENT["flow"] | changes.get("flow", {})}


def test_a_flow_event_becomes_a_flow(tmp_path: Path) -> None:
    read = read_suricata([write(tmp_path / "eve.json", {"event_type": "stats", "timestamp": "x"}, EVENT)])
    assert (read.lines_read, read.records, read.bad_lines) == (2, 1, 0)
    names = [column.name for column in FLOW_COLUMNS if column.tier < Tier.PACKETS]
    assert read.frame.columns == [*names, *(column.name for column in LOG_COLUMNS)]
    assert all(read.frame.schema[name] == FLOW_SCHEMA[name] for name in names)
    row = read.frame.row(0, named=True)
    assert row["first_time"].isoformat() == "2024-01-01T00:00:00.250000+00:00"
    assert {name: row[name] for name in names[2:]} == {
        "duration_seconds": 1.5,
        "originator": "2001:db8::1",
        "responder": "2001:db8::2",
        "orig_port": 50000,
        "resp_port": 443,
        "protocol": 6,
        "vlan": 0,
        "community_id": None,
        "conn_state": "SF",
        "orig_packets": 6,
        "resp_packets": 5,
        "orig_wire_bytes": 664,
        "resp_wire_bytes": 2390,
        "orig_bytes": 664 - 6 * 74 - 20,
        "resp_bytes": 2390 - 5 * 74 - 20,
    }
    assert (row["log_uid"], row["log_service"]) == ("1234567890123", "tls")


def test_other_protocols_and_vlans(tmp_path: Path) -> None:
    path = write(
        tmp_path / "eve.json",
        flow(proto="ICMP", icmp_type=8, icmp_code=0, tcp=None, src_ip="10.0.0.1", src_port=None, dest_port=None),
        flow(proto="IPv6-ICMP", icmp_type=135, icmp_code=0, tcp=None),
        flow(proto="UDP", vlan=[100], tcp=None, app_proto="failed", src_ip="10.0.0.1"),
        flow(proto="UDP", vlan=[100, 200], tcp=None, flow={"pkts_toclient": 0, "bytes_toclient": 0}),
        flow(proto="253", tcp=None, community_id="1:abc="),
    )
    frame = read_suricata([path]).frame
    assert frame["protocol"].to_list() == [1, 58, 17, 17, 255]
    assert frame["orig_port"].to_list() == [8, 135, 50000, 50000, 50000]
    assert frame["vlan"].to_list() == [0, 0, 100, 100 * 4096 + 200, 0]
    assert frame["conn_state"].to_list() == ["OTH", "OTH", "SF", "S0", "OTH"]
    assert frame["orig_bytes"].to_list()[2] == 664 - 6 * (14 + 4 + 20 + 8)
    assert frame["log_service"].to_list()[2] is None
    assert frame["community_id"].to_list()[4] == "1:abc="


STATES = [
    ("02", "00", 0, "S0"),
    ("02", "14", 1, "REJ"),
    ("06", "12", 1, "RSTO"),
    ("06", "00", 0, "RSTOS0"),
    ("03", "00", 0, "SH"),
    ("12", "12", 1, "S1"),
    ("1a", "1e", 1, "RSTR"),
    ("1e", "1a", 1, "RSTO"),
    ("1b", "1a", 1, "S2"),
    ("1a", "1b", 1, "S3"),
    ("1b", "1b", 1, "SF"),
    ("1f", "1b", 1, "SF"),
    ("18", "18", 1, "OTH"),
    ("00", "16", 1, "RSTRH"),
    ("10", "13", 1, "SHR"),
    ("04", "00", 0, "OTH"),
]


@pytest.mark.parametrize(("toserver", "toclient", "answers", "state"), STATES)
def test_connection_states_from_flags(tmp_path: Path, toserver: str, toclient: str, answers: int, state: str) -> None:
    event = flow(
        tcp={"tcp_flags_ts": toserver, "tcp_flags_tc": toclient, "state": "closed"},
        flow={"pkts_toclient": answers, "bytes_toclient": 74 * answers},
    )
    assert read_suricata([write(tmp_path / "eve.json", event)]).frame["conn_state"].to_list() == [state]


def test_connection_states_without_flags(tmp_path: Path) -> None:
    events = [flow(tcp={"state": state}) for state in ("syn_sent", "established", "close_wait", "closed")]
    frame = read_suricata(
        [write(tmp_path / "eve.json", *events, flow(tcp=None), flow(tcp=None, flow={"state": "new"}))]
    )
    assert frame.frame["conn_state"].to_list() == ["S0", "S1", "S3", "SF", "SF", "OTH"]


def test_events_are_joined_by_flow_id_across_files(tmp_path: Path) -> None:
    write(
        tmp_path / "eve.json.1",
        {"event_type": "dns", "timestamp": "x", "flow_id": 1,
         "dns": {"type": "query", "rrname": "a.example", "rrtype": "A"}},
        {"event_type": "dns", "timestamp": "x", "flow_id": 1,
         "dns": {"type": "answer", "rrname": "b", "rcode": "NXDOMAIN"}},
        {"event_type": "dns", "timestamp": "x", "flow_id": 2,
         "dns": {"version": 3, "type": "request", "queries": [{"rrname": "c.example", "rrtype": "TXT"}]}},
        {"event_type": "http", "timestamp": "x", "flow_id": 3,
         "http": {"hostname": "h", "url": "/\u00e9", "http_method": "GET", "http_user_agent": "u\x1b", "status": 200}},
        {"event_type": "alert", "timestamp": "x", "flow_id": 3, "http": {"url": "/never"}},
        {"event_type": "tls", "timestamp": "x", "flow_id": 4, "tls": {"version": "TLSv1", "sni": "s.example"}},
        flow(flow_id=1),
    )  # fmt: skip
    later = {"start": "2024-01-02T00:00:00.000000+0000", "end": "2024-01-02T00:00:00.000000+0000"}
    lines = "\n".join(json.dumps(flow(flow_id=n, flow=later)) for n in (2, 3, 4, 5))
    (tmp_path / "eve.json.0.gz").write_bytes(gzip.compress(lines.encode()))
    frame = read_suricata([tmp_path / "eve.json.0.gz", tmp_path / "eve.json.1"]).frame
    assert frame["log_uid"].to_list() == ["1", "2", "3", "4", "5"]
    assert frame["log_dns_query"].to_list() == ["a.example", "c.example", None, None, None]
    assert frame["log_dns_type"].to_list() == ["A", "TXT", None, None, None]
    assert frame["log_dns_answer"].to_list() == ["NXDOMAIN", None, None, None, None]
    http = frame.select("log_http_method", "log_http_host", "log_http_uri", "log_http_user_agent", "log_http_status")
    assert http.row(2) == ("GET", "h", "/\u00e9", "u\\x1b", "200")
    assert frame.select("log_tls_version", "log_tls_sni").row(3) == ("TLS 1.0", "s.example")
    assert read_suricata([tmp_path]).frame.equals(frame)


BAD_EVENTS = {
    "not JSON": ("{'event_type': 'flow'}", "is not JSON"),
    "torn": (json.dumps(EVENT)[:200], "is JSON cut short"),
    "array": ("[1, 2]", "is not a JSON object"),
    "two": (json.dumps(EVENT) * 2, "something stands after the object"),
    "bomb": ('{"a":' * 100_000, "is nested more than 64 deep"),
    "zero": (json.dumps(EVENT).replace("tls", "t\0s"), "a control byte stands in it"),
    "utf-8": (json.dumps(EVENT).replace("tls", "t\udcffs"), "is not UTF-8 at byte"),
    "no type": (json.dumps({"timestamp": "x"}), "has no event_type"),
    "no counts": (json.dumps(EVENT | {"flow": {}}), "has no flow.pkts_toserver"),
    "list of counts": (json.dumps(EVENT | {"flow": [1]}), "has no flow.pkts_toserver"),
    "text count": (json.dumps(flow(flow={"bytes_toclient": "many"})), "flow.bytes_toclient cannot be many"),
    "float count": (json.dumps(flow(flow={"pkts_toclient": 1.5})), "flow.pkts_toclient cannot be 1.5"),
    "huge count": (json.dumps(flow(flow={"pkts_toclient": 10**30})), "flow.pkts_toclient cannot be 1000"),
    "true": (json.dumps(EVENT | {"src_port": True}), "src_port cannot be true"),
    "address": (json.dumps(EVENT | {"src_ip": "::g"}), "src_ip cannot be ::g"),
    "time": (json.dumps(flow(flow={"start": "noon"})), "flow.start cannot be noon"),
    "flags": (json.dumps(EVENT | {"tcp": {"tcp_flags_ts": "zz"}}), "tcp.tcp_flags_ts cannot be zz"),
    "long": (json.dumps(EVENT | {"payload": "x" * 5_000_000}), "is longer than 4 MiB"),
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_line_is_told_counted_and_read_over(tmp_path: Path, name: str) -> None:
    line, what = BAD_EVENTS[name]
    path = write(tmp_path / "eve.json", EVENT, line, "", EVENT, line)
    problems: list[str] = []
    read = read_suricata([path], on_problem=problems.append)
    assert (read.lines_read, read.records, read.bad_lines) == (5, 2, 2)
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:2", f"{path}:5"]
    assert all(what in problem and problem.isprintable() and len(problem) < 400 for problem in problems)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 700), st.integers(0, 40))
def test_no_damage_raises(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int, gone: int) -> None:
    good = json.dumps(EVENT).encode()
    line = (good[:at] + junk + good[at + gone :]).replace(b"\n", b"")
    path = tmp_path_factory.mktemp("eve") / "eve.json"
    path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    problems: list[str] = []
    read = read_suricata([path], on_problem=problems.append)
    assert read.lines_read == 3
    assert read.bad_lines == len(problems)
    assert 2 <= read.records <= 3
    assert read.records + read.bad_lines <= 3


def test_events_made_of_flows_tell_the_same_flows(tmp_path: Path) -> None:
    flows = made_flows(2000)
    frame = read_suricata([write(tmp_path / "eve.json", *eve_records(flows))]).frame
    for name in ("originator", "responder", "orig_port", "resp_port", "protocol", "conn_state", "orig_packets",
                 "resp_packets", "orig_wire_bytes", "resp_wire_bytes"):  # fmt: skip
        assert frame[name].to_list() == flows[name].to_list(), name
    assert (frame["duration_seconds"] - flows["duration_seconds"]).abs().max() < 1e-6


def test_what_is_no_eve_log_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path / "table.jsonl", {"a": 1}, {"a": 2})
    alerts = write(tmp_path / "eve.json", {"event_type": "alert", "timestamp": "x"})
    assert (is_suricata(table), is_suricata(alerts)) == (False, True)
    with pytest.raises(InputError, match="is not a Suricata EVE log"):
        read_suricata([table])
    with pytest.raises(InputError, match="holds no whole flow event; switch on"):
        read_suricata([alerts])
