"""Community IDs: the spec's published values, and a second way to them by hashlib."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from frame_builders import batch as frames
from frame_builders import ethernet, icmp, ip, metered, raw, tcp, udp
from hypothesis import given, settings
from hypothesis import strategies as st

SCTP_HEAD = struct.pack(">HHII", 7, 80, 0, 0)


def id_of(frame: bytes) -> str:
    return metered(frames([frame]))["community_id"][0]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("source", "target", "protocol", "segment", "expected"),
    [
        ("128.232.110.120", "66.35.250.204", 6, tcp(34855, 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("66.35.250.204", "128.232.110.120", 6, tcp(80, 34855), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("192.168.1.52", "8.8.8.8", 17, udp(54585, 53), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        ("192.168.0.89", "192.168.0.1", 1, icmp(8), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ("192.168.0.1", "192.168.0.89", 1, icmp(0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", 58, icmp(135), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
        ("192.168.170.8", "192.168.170.56", 132, SCTP_HEAD, "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="),
    ],
)
def test_the_published_values(source: str, target: str, protocol: int, segment: bytes, expected: str) -> None:
    assert id_of(ethernet(ip(source, target, protocol, segment))) == expected


def by_hashlib(source: str, target: str, protocol: int, sport: int, dport: int, *, ports: bool, one_way: bool) -> str:
    ends = [(raw(source), sport), (raw(target), dport)]
    if not one_way:
        ends.sort()
    message = b"\0\0" + ends[0][0] + ends[1][0] + bytes([protocol, 0])
    if ports:
        message += struct.pack(">HH", ends[0][1], ends[1][1])
    return "1:" + base64.b64encode(hashlib.sha1(message).digest()).decode()


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4).map(str), st.ip_addresses(v=4).map(str)),
    st.tuples(st.ip_addresses(v=6).map(str), st.ip_addresses(v=6).map(str)),
)
PORTS = st.integers(0, 65535)


@settings(max_examples=60, deadline=None)
@given(ends=ADDRESSES, sport=PORTS, dport=PORTS, over_udp=st.booleans())
def test_it_is_what_hashlib_makes_of_ports(ends: tuple[str, str], sport: int, dport: int, over_udp: bool) -> None:
    protocol = 17 if over_udp else 6
    segment = udp(sport, dport) if over_udp else tcp(sport, dport)
    # Port 4789 is VXLAN's: without a VXLAN header inside it stays a plain flow.
    assert id_of(ethernet(ip(*ends, protocol, segment))) == by_hashlib(
        *ends, protocol, sport, dport, ports=True, one_way=False
    )


@pytest.mark.kernel
def test_a_one_way_message_keeps_its_direction_and_other_protocols_have_no_ports() -> None:
    assert id_of(ethernet(ip("10.0.0.9", "10.0.0.1", 1, icmp(3, 1)))) == by_hashlib(
        "10.0.0.9", "10.0.0.1", 1, 3, 1, ports=True, one_way=True
    )
    assert id_of(ethernet(ip("10.0.0.9", "10.0.0.1", 89, b"\2" * 40))) == by_hashlib(
        "10.0.0.9", "10.0.0.1", 89, 0, 0, ports=False, one_way=False
    )
