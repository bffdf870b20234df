"""Scopes, subnets and ports as relations."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import numpy as np
import polars as pl
import pytest
from flow_rows import flow, flows, udp
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.features import FeatureExtractor
from kshot.features.addresses import SCOPES, parse_addresses

pytestmark = pytest.mark.kernel


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return FeatureExtractor().transform(flows(row)).row(0, named=True)


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("10.1.2.3", "private"), ("172.31.0.1", "private"), ("172.32.0.1", "public"), ("192.168.1.1", "private"),
        ("100.64.0.1", "private"), ("fd00::1", "private"), ("8.8.8.8", "public"), ("2606:4700::1111", "public"),
        ("127.0.0.1", "loopback"), ("::1", "loopback"), ("169.254.1.1", "link_local"), ("fe80::1", "link_local"),
        ("224.0.0.251", "multicast"), ("ff02::fb", "multicast"), ("255.255.255.255", "broadcast"),
        ("0.0.0.0", "other"), ("::", "other"), ("host.example", "other"), ("", "other"), ("::ffff:10.1.2.3", "private"),
    ],
)  # fmt: skip
def test_scopes(address: str, scope: str) -> None:
    assert _row(flow(responder=address))["resp_scope"] == scope


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.ip_addresses().map(str), st.text(max_size=20)), min_size=2, max_size=20))
def test_addresses_parse_as_the_standard_library_does(texts: list[str]) -> None:
    parsed = parse_addresses(pl.Series(texts, dtype=pl.String))
    for at, text in enumerate(texts):
        try:
            address = ip_address(text)
        except ValueError:
            address = None
        assert (address is None) == (parsed.subnets[at] == 0), text
        if address is not None and address.is_multicast:
            assert SCOPES[parsed.scopes[at]] == "multicast"
    again = parse_addresses(pl.Series(texts[::-1], dtype=pl.String))
    assert (again.keys[::-1] == parsed.keys).all()
    assert len(np.unique(parsed.keys)) == len(set(map(_canonical, texts)))


def _canonical(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return "text " + text.replace("\n", " ")
    return str(getattr(address, "ipv4_mapped", None) or address)


@pytest.mark.parametrize(
    "text",
    ["1.2.3", "1.2.3.4.5", "256.1.1.1", "1..2.3", "a.b.c.d", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "12345::",
     "::1.2.3", "1:2:3:4:5:6:7:8:9", "1.2.3.4:80", "fe80::1%eth0", "::1 ", "1:", ":1"],
)  # fmt: skip
def test_what_is_no_address_has_no_subnet(text: str) -> None:
    assert parse_addresses(pl.Series([text])).subnets[0] == 0


def test_subnets() -> None:
    assert _row(flow(originator="10.0.0.1", responder="10.0.0.200"))["same_subnet"] is True
    assert _row(flow(originator="10.0.0.1", responder="10.0.1.1"))["same_subnet"] is False
    assert _row(flow(originator="2001:db8::1", responder="2001:db8::2:1"))["same_subnet"] is True
    assert _row(flow(originator="nobody", responder="nobody"))["same_subnet"] is None


def test_kinds_of_ports() -> None:
    row = _row(flow(orig_port=51000, resp_port=3306))
    assert (row["orig_port_kind"], row["resp_port_kind"], row["equal_ports"]) == ("ephemeral", "registered", False)
    row = _row(udp(0, b"", protocol=1, orig_port=8, resp_port=0))
    assert (row["resp_port_kind"], row["equal_ports"], row["icmp_kind"]) == (None, None, "echo")
    assert _row(udp(0, b"", protocol=58, orig_port=135, resp_port=0))["icmp_kind"] == "discovery"
    assert _row(flow())["icmp_kind"] is None


@pytest.mark.parametrize(
    ("port", "payload", "fits"),
    [
        (22, b"SSH-2.0-OpenSSH_9.6\r\n", "yes"),
        (4444, b"SSH-2.0-OpenSSH_9.6\r\n", "no"),
        (53, b"\x93\x10\xfe\x00", "no"),
        (31337, b"\x93\x10\xfe\x00", None),
        (22, b"", None),
    ],
)
def test_whether_payload_fits_the_port(port: int, payload: bytes, fits: str | None) -> None:
    assert _row(flow(resp_port=port, orig_payload=payload))["port_fits_service"] == fits
