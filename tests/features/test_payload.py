"""Services told from payload, whatever the port, and the facts of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flow_rows import flow, flows, udp

from kshot.features import FeatureExtractor
from kshot.features.services import SERVICE_ID, SERVICES, USUAL_PORTS
from kshot.features.signatures import FACTS, TESTS

pytestmark = pytest.mark.kernel


def _query(name: str, kind: int = 1, flags: int = 0x0100) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return b"\x1b\x0a" + flags.to_bytes(2, "big") + b"\x00\x01" + bytes(6) + labels + b"\x00" + bytes([0, kind, 0, 1])


TCP = {
    "http": b"GET /index.html HTTP/1.1\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "tls": bytes.fromhex("16030102000100"),
    "mqtt": b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c",
    "modbus": bytes.fromhex("000100000006010300000001"),
    "iec104": bytes.fromhex("680407000000"),
    "s7comm": bytes.fromhex("0300001611e00000000100c0010ac1020100c2020102"),
    "rdp": bytes.fromhex("0300002c27e00000000000") + b"Cookie: mstshash=eltons\r\n\x01\x00\x08\x00\x00\x00\x00\x00",
    "enip": bytes.fromhex("65000400000000000000000000000000000000000000000001000000"),
    "ldap": bytes.fromhex("300c020101600702010304008000"),
    "dns": b"\x00\x1d" + _query("example.com"),
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "postgres": bytes.fromhex("0000000804d2162f"),
    "kerberos": bytes.fromhex("000000d96a81d63081d3a103"),
    "smtp": b"EHLO client.example\r\n",
    "bittorrent": b"\x13BitTorrent protocol",
    "telnet": b"\xff\xfd\x18\xff\xfd\x20",
    "jsonrpc": b'{"id":1,"method":"mining.subscribe"}',
}
TCP["smb"] = bytes.fromhex("00000090") + b"\xfeSMB" + bytes(20)
UDP = {
    "dns": _query("www.example.com"),
    "ntp": b"\x1b" + bytes(47),
    "snmp": bytes.fromhex("302602010104067075626c6963a019"),
    "quic": bytes.fromhex("c30000000108") + bytes(30),
    "stun": bytes.fromhex("000100002112a442") + bytes(12),
    "dhcp": bytes.fromhex("01010600") + bytes(60),
    "netbios": bytes.fromhex("a1b2011000010000000000002043414141") + b"A" * 30 + bytes.fromhex("0000210001"),
    "sip": b"REGISTER sip:example.com SIP/2.0",
    "rtp": bytes.fromhex("8000000100000000") + bytes(20),
    "ssdp": b"M-SEARCH * HTTP/1.1\r\n",
    "bacnet": bytes.fromhex("810b000c0120ffff00ff1008"),
    "coap": bytes.fromhex("4001000abb2e77656c6c"),
    "tftp": b"\x00\x01boot.img\x00octet\x00",
    "syslog": b"<34>Oct 11 22:14:15 host su: failed",
    "ipsec": bytes(8).replace(b"\0", b"\x11")
    + bytes(8)
    + bytes.fromhex("2120220800000000")
    + bytes.fromhex("000001f4"),
    "wireguard": bytes.fromhex("01000000") + bytes(60),
    "dtls": bytes.fromhex("16feff000000000000000000c8"),
    "memcached": bytes.fromhex("0000000000010000") + b"stats\r\n",
    "bittorrent": b"d1:ad2:id20:" + bytes(20),
    "kerberos": bytes.fromhex("6a81d63081d3a10302010500"),
    "rpc": bytes.fromhex("123456780000000000000002000186a000000002") + bytes(8),
}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return FeatureExtractor().transform(flows(row)).row(0, named=True)


@pytest.mark.parametrize("service", TCP)
def test_a_tcp_service_is_told_without_its_port(service: str) -> None:
    assert _row(flow(orig_payload=TCP[service], resp_port=31337))["service"] == service


@pytest.mark.parametrize("service", UDP)
def test_a_udp_service_is_told_without_its_port(service: str) -> None:
    assert _row(udp(0, UDP[service], resp_port=31337))["service"] == service


@pytest.mark.parametrize(
    ("payload", "service"),
    [
        (b"220 mx.example ESMTP Postfix\r\n", "smtp"),
        (b"220 ProFTPD Server ready\r\n", "ftp"),
        (b"220 ready\r\n", "ftp"),
        (bytes.fromhex("4a0000000a352e372e3333"), "mysql"),
        (b"+OK POP3 ready", "pop3"),
        (b"RFB 003.008\n", "rfb"),
        (b"\x93\x10\xfe\x00", "unknown"),
        (b"", "none"),
    ],
)
def test_the_responder_may_tell_the_service(payload: bytes, service: str) -> None:
    assert _row(flow(resp_payload=payload, resp_port=31337))["service"] == service


def test_random_bytes_seldom_pass_for_a_service() -> None:
    rng = np.random.default_rng(1)
    rows = [flow(k, orig_payload=rng.bytes(64), resp_payload=rng.bytes(64)) for k in range(400)]
    rows += [udp(k, rng.bytes(64)) for k in range(400, 800)]
    services = FeatureExtractor().transform(flows(*rows))["service"]
    assert (services[:400] == "unknown").mean() > 0.97
    assert (services[400:] == "unknown").mean() > 0.9


def test_the_name_of_a_tunnels_query_stands_out() -> None:
    plain = _row(udp(0, _query("www.example.com")))
    assert (plain["dns_name_bytes"], plain["dns_labels"], plain["dns_longest_label_bytes"]) == (15, 3, 7)
    assert (plain["dns_query"], plain["dns_digit_share"], plain["dns_odd_share"]) == ("a", 0, 0)
    tunnel = _row(udp(0, _query("0a1b2c3d4e5f60718293a4b5c6d7e8f9.+.example", 16)))
    shouted = _row(udp(0, _query("0A1B2C3D4e5f60718293a4b5c6d7e8f9.+.EXAMPLE", 16)))
    assert all(tunnel[name] == shouted[name] for name in tunnel if name.startswith("dns_"))
    assert (tunnel["dns_longest_label_bytes"], tunnel["dns_query"]) == (32, "txt")
    assert tunnel["dns_digit_share"] > 0.4
    assert tunnel["dns_entropy_bits"] > plain["dns_entropy_bits"]
    assert tunnel["dns_odd_share"] == pytest.approx(1 / 40)
    assert _row(udp(0, _query("a" * 60 + ".example.com", 16)))["dns_query"] is None


def test_an_answer_tells_its_code_and_its_question() -> None:
    row = _row(udp(0, b"", resp_payload=_query("gone.example", 28, flags=0x8183)))
    assert (row["service"], row["dns_answer"], row["dns_query"]) == ("dns", "nxdomain", "aaaa")


def test_facts_of_http() -> None:
    row = _row(flow(orig_payload=b"POST /a?b=%27<x> HTTP/1.1\r\n", resp_payload=b"HTTP/1.1 404 Not Found\r\n"))
    assert (row["http_method"], row["http_status"], row["http_uri_bytes"]) == ("post", "4xx", 9)
    assert row["http_uri_special_share"] == pytest.approx(5 / 9)
    assert _row(flow(resp_payload=b"HTTP/1.0 200 OK\r\n"))["http_method"] is None


def test_facts_of_tls_and_ssh() -> None:
    row = _row(flow(orig_payload=bytes.fromhex("1603010200010001fc"), resp_payload=bytes.fromhex("15030100020228")))
    assert (row["tls_hello_bytes"], row["tls_answer"], row["tls_answer_bytes"]) == (512, "alert", 2)
    row = _row(flow(orig_payload=b"SSH-2.0-libssh2_1.11.0\r\n", resp_payload=b"SSH-2.0-OpenSSH_9.6\r\n"))
    assert (row["ssh_software"], row["ssh_banner_bytes_from_orig"], row["ssh_banner_bytes_from_resp"]) == (
        "libssh2",
        22,
        19,
    )


def test_entropy_and_print_of_the_first_bytes() -> None:
    row = _row(flow(orig_payload=bytes(range(64)), resp_payload=b"aaaa"))
    assert row["entropy_share_from_orig"] == pytest.approx(1)
    assert row["entropy_share_from_resp"] == 0
    assert row["printable_share_from_resp"] == 1
    assert row["printable_share_from_orig"] == pytest.approx((32 + 3) / 64)


def test_the_tables_of_signatures_are_sound() -> None:
    assert set(USUAL_PORTS) <= set(SERVICES)
    assert len(SERVICES) <= 64
    assert (TESTS[:, 1] <= TESTS[:, 2]).all()
    for _, _, least, length_at, begin, end in FACTS:
        assert 0 < least <= 64
        assert (TESTS[begin:end, 0] < least).all()
        assert length_at + 1 < least
    assert SERVICE_ID["none"] == 0
