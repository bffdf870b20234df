"""What logs tell of a flow reads the same as what its packets tell."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from benchmarks.logs import conn_records, fact_records, json_lines
from flow_rows import flow, flows, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.features import FeatureExtractor, columns_for_tier, encode_to_tier
from kshot.features.log_facts import SERVICE_OF_LOG
from kshot.features.services import SERVICES
from kshot.records.columns import Tier
from kshot.records.flows import LOG_COLUMNS
from kshot.sources.zeek import read_zeek


def _logged(row: dict[str, Any], **told: str) -> dict[str, Any]:
    """The features of one flow as a log tells of it."""
    frame = flows(row).select("first_time", "last_time", "duration_seconds", "originator", "responder", "orig_port",
                              "resp_port", "protocol", "vlan", "conn_state", "orig_packets", "resp_packets",
                              "orig_wire_bytes", "resp_wire_bytes", "orig_bytes", "resp_bytes")  # fmt: skip
    logs = [pl.lit(told.get(column.name), pl.String()).alias(column.name) for column in LOG_COLUMNS]
    features = FeatureExtractor().transform(frame.with_columns(logs))
    assert tuple(features.columns) == columns_for_tier(Tier.ZEEK)
    return features.row(0, named=True)


def _metered(row: dict[str, Any]) -> dict[str, Any]:
    return encode_to_tier(FeatureExtractor().transform(flows(row)), Tier.ZEEK).row(0, named=True)


def _question(labels: list[bytes], kind: int) -> bytes:
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return b"\0\x07\x01\0\0\x01\0\0\0\0\0\0" + name + kind.to_bytes(2) + b"\0\x01"


_LABEL = st.binary(min_size=1, max_size=40).filter(lambda label: not {0x2E, 0x5C} & set(label))


@given(st.lists(_LABEL, min_size=1, max_size=4), st.sampled_from([("A", 1), ("TXT", 16), ("HTTPS", 65), ("X", 999)]))
@settings(max_examples=40, deadline=None)
def test_a_question_reads_the_same_from_a_log(labels: list[bytes], kind: tuple[str, int]) -> None:
    name = ".".join("".join(chr(c) if 0x20 <= c < 0x7F else f"\\x{c:02x}" for c in label) for label in labels)
    row = udp(0, _question(labels, kind[1]))
    assert _logged(row, log_dns_query=name, log_dns_type=kind[0]) == _metered(row)


@pytest.mark.parametrize(
    ("request_line", "told"),
    [
        (b"GET /index.html HTTP/1.1\r\n", "/index.html"),
        (b"GET /item?id=1%27%20or%201%3D1 HTTP/1.1\r\n", "/item?id=1' or 1=1"),
        (b"POST /a?b=%00%FF HTTP/1.1\r\n", "/a?b=\\x00\\xff"),
    ],
)
def test_a_request_reads_the_same_though_zeek_decodes_it(request_line: bytes, told: str) -> None:
    row = flow(orig_payload=request_line, resp_payload=b"HTTP/1.1 404 Not Found\r\n")
    method = request_line.split(b" ")[0].decode()
    assert _logged(row, log_http_method=method, log_http_uri=told, log_http_status="404") == _metered(row)


def test_what_a_log_does_not_tell_is_missing() -> None:
    row = _logged(udp(0, b"x" * 30), log_service="dns")
    assert row["service"] == "dns"
    assert row["dns_name_bytes"] is row["dns_query"] is row["dns_answer"] is row["http_method"] is None
    assert _logged(flow(orig_bytes=0, resp_bytes=0))["service"] == "none"
    assert _logged(flow(), log_service="spicy_new_thing")["service"] == "unknown"
    assert _logged(flow(resp_port=443), log_service="ssl,http2")["service"] == "tls"
    assert _logged(udp(0, b"x" * 50, resp_port=137), log_dns_query="ABC")["service"] == "netbios"


def test_sensors_name_no_service_that_is_unheard_of() -> None:
    assert set(SERVICE_OF_LOG.values()) <= set(SERVICES)


def test_flows_and_the_logs_made_of_them_have_the_same_features(tmp_path: Path) -> None:
    tls = b"\x16\x03\x01\x00\x80" + bytes(40)
    rows = [
        flow(0, orig_payload=b"GET /a?x=%3Cb%3E HTTP/1.1\r\nHost: x\r\n", resp_payload=b"HTTP/1.1 200 OK\r\n"),
        flow(1, orig_payload=tls, resp_payload=tls, resp_port=443),
        flow(2, orig_payload=b"SSH-2.0-OpenSSH_9\r\n", resp_payload=b"SSH-2.0-x\r\n", resp_port=22),
        flow(3, orig_payload=b"CNXN\x00\x00\x00\x01", resp_payload=b"", resp_port=5555),
        *(udp(4 + k, _question([b"Www", b"example", b"com"], 1)) for k in range(60)),
    ]
    metered = flows(*rows).with_columns(pl.col("last_time") + pl.duration(milliseconds=1))
    (tmp_path / "conn.log").write_text("".join(f"{line}\n" for line in json_lines(conn_records(metered))))
    for name, records in fact_records(metered).items():
        (tmp_path / f"{name}.log").write_text("".join(f"{line}\n" for line in json_lines(records)))
    read = read_zeek([tmp_path]).frame.sort("first_time")
    told, seen = FeatureExtractor().transform(read), FeatureExtractor().transform(metered)
    seen = encode_to_tier(seen, Tier.ZEEK)
    assert isinstance(read["first_time"][0], datetime)
    assert told.drop("port_fits_service").equals(seen.drop("port_fits_service"))
    assert told["port_fits_service"].drop_nulls().equals(seen["port_fits_service"].drop_nulls())
