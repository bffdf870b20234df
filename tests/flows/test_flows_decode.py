"""The decoder: every link type, tag and tunnel; every lie gets its verdict; nothing raises."""

from __future__ import annotations

import struct

import numpy as np
import polars as pl
import pytest
from frame_builders import ACK, SYN, drained, ethernet, icmp, ip, metered, tcp, udp
from frame_builders import batch as frames
from hypothesis import given, settings
from hypothesis import strategies as st

from kshot.flows import FlowMeter, MeterCounters
from kshot.flows.decode import decode_frame
from kshot.flows.fields import FIELDS
from kshot.flows.headers import SHED, Bytes, Words
from kshot.jit import njit


@njit
def decoded(buffer: Bytes, start: int, captured: int, wire: int, link: int, fields: Words) -> int:
    """The step of a kernel, as something to call from Python."""
    return decode_frame(buffer, start, captured, wire, link, True, fields, 0)


A4, B4 = "10.1.2.3", "10.1.2.4"
A6, B6 = "2001:db8::1", "2001:db8::2"
PACKET = ip(A4, B4, 6, tcp(1234, 80, SYN))
PACKET6 = ip(A6, B6, 6, tcp(1234, 80, SYN))


def counted(*all_frames: bytes, link: int = 1, snap: int | None = None) -> MeterCounters:
    meter = FlowMeter(memory_bytes=2**20)
    drained(meter, [frames(all_frames, link=link, snap=snap)])
    return meter.counters


def only(frame: bytes, *, link: int = 1, **settings: float) -> dict[str, object]:
    flows = metered(frames([frame], link=link), **settings)
    assert flows.height == 1
    return flows.row(0, named=True)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(PACKET)),
        (1, ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + PACKET, kind=8 + len(PACKET))),
        (1, ethernet(struct.pack(">I", (16 << 12) | (1 << 8) | 64) + PACKET, kind=0x8847)),
        (1, ethernet(struct.pack(">II", 16 << 12, (17 << 12) | (1 << 8)) + PACKET, kind=0x8847)),
        (1, ethernet(struct.pack(">II", (17 << 12) | (1 << 8), 0) + ethernet(PACKET), kind=0x8847)),
        (1, ethernet(struct.pack(">BBHHH", 0x11, 0, 7, 2 + len(PACKET), 0x21) + PACKET, kind=0x8864)),
        (101, PACKET),
        (12, PACKET),
        (14, PACKET),
        (228, PACKET),
        (113, struct.pack(">HHHQH", 0, 1, 6, 0, 0x0800) + PACKET),
        (276, struct.pack(">HHIHBBQ", 0x0800, 0, 1, 1, 0, 6, 0) + PACKET),
        (0, struct.pack("<I", 2) + PACKET),
        (0, struct.pack(">I", 2) + PACKET),
        (108, struct.pack(">I", 2) + PACKET),
        (9, b"\xff\x03\0\x21" + PACKET),
        (9, b"\x21" + PACKET),
    ],
)
def test_every_link_leads_to_the_packet(link: int, frame: bytes) -> None:
    flow = only(frame, link=link)
    assert (flow["originator"], flow["orig_port"], flow["responder"], flow["resp_port"]) == (A4, 1234, B4, 80)
    assert flow["protocol"] == 6
    assert flow["orig_wire_bytes"] == len(frame)
    assert (flow["vlan"], flow["tunnel"], flow["orig_syn_packets"]) == (0, "none", 1)


@pytest.mark.kernel
@pytest.mark.parametrize(("link", "head"), [(229, b""), (101, b""), (0, struct.pack("<I", 30)), (9, b"\0\x57")])
def test_ipv6_over_every_link(link: int, head: bytes) -> None:
    flow = only(head + PACKET6, link=link)
    assert (flow["originator"], flow["orig_port"], flow["responder"]) == (A6, 1234, B6)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("tags", "vlan"),
    [
        ([(0x8100, 5)], 5),
        ([(0x88A8, 5), (0x8100, 6)], 5 * 4096 + 6),
        ([(0x9100, 5), (0x8100, 6)], 5 * 4096 + 6),
        ([(0x8100, 0)], 0),
    ],
)
def test_vlan_tags(tags: list[tuple[int, int]], vlan: int) -> None:
    assert only(ethernet(PACKET, tags=tags))["vlan"] == vlan


@pytest.mark.kernel
def test_extension_headers_are_walked() -> None:
    options = bytes([6, 0]) + b"\0" * 6
    routing = bytes([60, 1]) + b"\0" * 14
    first = ip(A6, B6, 0, bytes([43, 0]) + b"\0" * 6 + routing + options + tcp(1, 2, ACK, b"abc"))
    flow = only(ethernet(first))
    assert (flow["protocol"], flow["orig_port"], flow["orig_bytes"]) == (6, 1, 3)
    ah = bytes([17, 4]) + b"\0" * 22
    assert only(ethernet(ip(A6, B6, 51, ah + udp(5, 6, b"xy"))))["orig_bytes"] == 2
    atomic = bytes([17, 0, 0, 0, 0, 0, 0, 9])
    assert only(ethernet(ip(A6, B6, 44, atomic + udp(5, 6))))["orig_port"] == 5
    endless = b"".join(bytes([60, 0]) + b"\0" * 6 for _ in range(40))
    assert counted(ethernet(ip(A6, B6, 60, endless))).malformed == 1


INNER = ip("192.168.0.1", "192.168.0.2", 17, udp(7, 8, b"hi"))
INNER6 = ip("fd00::1", "fd00::2", 17, udp(7, 8, b"hi"))
GTP = struct.pack(">BBHI", 0x30, 255, len(INNER), 1) + INNER
GTP_EXTENDED = struct.pack(">BBHIHBB", 0x34, 255, len(INNER) + 8, 1, 0, 0, 0x85) + b"\1\0\0\0" + INNER


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("tunnel", "protocol", "payload"),
    [
        ("ipip", 4, INNER),
        ("ipip", 41, INNER6),
        ("gre", 47, struct.pack(">HH", 0, 0x0800) + INNER),
        ("gre", 47, struct.pack(">HHII", 0x3000, 0x0800, 1, 2) + INNER),
        ("gre", 47, struct.pack(">HHI", 0x8000, 0x86DD, 0) + INNER6),
        ("gre", 47, struct.pack(">HH", 0, 0x6558) + ethernet(INNER)),
        ("gre", 47, struct.pack(">HHII", 0x1000, 0x88BE, 1, 0x10000000) + b"\0" * 4 + ethernet(INNER)),
        ("gre", 47, struct.pack(">HHHHI", 0x3001, 0x880B, len(INNER) + 4, 1, 1) + b"\xff\x03\0\x21" + INNER),
        ("vxlan", 17, udp(5555, 4789, struct.pack(">II", 0x08000000, 42 << 8) + ethernet(INNER))),
        ("gtpu", 17, udp(2152, 2152, GTP)),
        ("gtpu", 17, udp(2152, 2152, GTP_EXTENDED)),
    ],
)
def test_tunnels(tunnel: str, protocol: int, payload: bytes) -> None:
    frame = ethernet(ip(A4, B4, protocol, payload))
    flow = only(frame)
    assert flow["tunnel"] == tunnel
    assert flow["originator"] in ("192.168.0.1", "fd00::1")
    assert (flow["orig_port"], flow["resp_port"], flow["orig_bytes"]) == (7, 8, 2)
    assert flow["orig_wire_bytes"] == len(frame)
    outer = only(frame, tunnels=False)
    assert (outer["tunnel"], outer["originator"], outer["protocol"]) == ("none", A4, protocol)
    # What is no sane packet inside counts in the tunnel's own flow.
    broken = only(ethernet(ip(A4, B4, protocol, payload[:-20])))
    assert (broken["tunnel"], broken["originator"], broken["protocol"]) == ("none", A4, protocol)


@pytest.mark.kernel
def test_nesting_is_bounded() -> None:
    packet = PACKET
    for _ in range(20):
        packet = ip(A4, B4, 4, packet)
    flow = only(ethernet(packet))
    assert flow["protocol"] == 4
    assert counted(ethernet(PACKET, tags=[(0x8100, 1)] * 60)).malformed == 1


@pytest.mark.kernel
def test_verdicts() -> None:
    def bad_ip(at: int, value: int) -> bytes:
        frame = bytearray(ethernet(PACKET))
        frame[14 + at] = value
        return bytes(frame)

    assert counted(ethernet(b"\0" * 28, kind=0x0806)).non_ip == 1
    assert counted(ethernet(b"\x42\x42\x03" + b"\0" * 40, kind=38)).non_ip == 1
    assert counted(PACKET, link=105).non_ip == 1
    assert counted(bad_ip(0, 0x44)).malformed == 1
    assert counted(bad_ip(0, 0x65)).malformed == 1
    assert counted(bad_ip(3, 19)).malformed == 1
    assert counted(bad_ip(20 + 12, 0x40)).malformed == 1
    assert counted(bad_ip(20 + 12, 0xF0)).malformed == 1
    assert counted(ethernet(ip(A4, B4, 17, struct.pack(">HHHH", 1, 2, 7, 0)))).malformed == 1
    assert counted(b"\0" * 10).malformed == 1
    assert counted(ethernet(PACKET[:12])).malformed == 1
    for snap in (10, 20, 33, 36):
        assert counted(ethernet(PACKET), snap=snap).truncated == 1
    # The ports are there: the rest of the header is not needed for the 5-tuple.
    assert counted(ethernet(PACKET), snap=38).metered == 1


@pytest.mark.kernel
def test_payload_bytes_come_from_the_headers() -> None:
    padded = ethernet(ip(A4, B4, 6, tcp(1, 2, ACK))) + b"\0" * 6
    assert only(padded)["orig_bytes"] == 0
    long = metered(frames([ethernet(ip(A4, B4, 6, tcp(1, 2, ACK, b"x" * 900)))], snap=64))
    assert (long["orig_bytes"][0], long["orig_payload"][0]) == (900, b"x" * 10)
    offloaded = bytearray(ethernet(ip(A4, B4, 6, tcp(1, 2, ACK, b"y" * 50))))
    offloaded[16:18] = b"\0\0"
    assert only(bytes(offloaded))["orig_bytes"] == 50
    assert only(ethernet(ip(A4, B4, 1, icmp(8, 0, b"z" * 56))))["orig_bytes"] == 56


@pytest.mark.kernel
def test_fragments_join_the_first() -> None:
    whole = udp(5000, 53, b"q" * 48)
    first = ethernet(ip(A4, B4, 17, whole[:24], fragment=0x2000, ident=9))
    middle = ethernet(ip(A4, B4, 17, whole[24:40], fragment=0x2000 | 3, ident=9))
    last = ethernet(ip(A4, B4, 17, whole[40:], fragment=5, ident=9))
    other = ethernet(ip(A4, B4, 17, whole[40:], fragment=5, ident=10))
    flows = metered(frames([first, middle, last, other])).sort("orig_port")
    assert flows["orig_port"].to_list() == [0, 5000]
    assert flows["orig_packets"].to_list() == [1, 3]
    assert flows["orig_bytes"].to_list() == [16, 48]
    # Thirty seconds later the first is forgotten.
    late = metered(frames([first, last], times=[0, 31])).sort("orig_port")
    assert late["orig_port"].to_list() == [0, 5000]


@pytest.mark.kernel
def test_ipv6_fragments_join_the_first() -> None:
    whole = tcp(5000, 80, ACK, b"q" * 44)
    head = [struct.pack(">BBHI", 6, 0, offset, 77) for offset in (1, 32)]
    both = [
        ethernet(ip(A6, B6, 44, head[0] + whole[:32])),
        ethernet(ip(A6, B6, 44, head[1] + whole[32:])),
    ]
    flows = metered(frames(both))
    assert flows.select("orig_port", "orig_packets", "orig_bytes").rows() == [(5000, 2, 44)]


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=120),
    link=st.sampled_from([1, 101, 113, 276, 0, 108, 9, 228, 229, 105]),
    more=st.integers(0, 50),
)
def test_random_bytes_get_a_verdict(data: bytes, link: int, more: int) -> None:
    buffer = np.frombuffer(b"\x45" * 8 + data + b"\x45" * 64, np.uint8).copy()
    fields = np.zeros(FIELDS, np.int64)
    verdict = decoded(buffer, 8, len(data), len(data) + more, link, fields)
    assert 0 <= verdict < SHED
    # It reads within the frame alone: other surroundings, same verdict and fields.
    surrounded = np.frombuffer(b"\xff" * 8 + data + b"\xff" * 64, np.uint8).copy()
    again = np.zeros(FIELDS, np.int64)
    assert decoded(surrounded, 8, len(data), len(data) + more, link, again) == verdict
    assert (fields == again).all()


MUTABLE = [
    ethernet(ip(A4, B4, 47, struct.pack(">HH", 0, 0x6558) + ethernet(INNER6))),
    ethernet(PACKET6),
    ethernet(PACKET),
]


@settings(max_examples=300, deadline=None)
@given(
    frame=st.sampled_from(MUTABLE),
    changes=st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 120),
)
def test_mutants_get_a_verdict_and_are_conserved(frame: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    mutant = bytearray(frame)
    for at, value in changes:
        mutant[at % len(mutant)] = value
    flows = metered(frames([bytes(mutant)], snap=cut))
    if flows.height:
        total = flows.select(pl.sum("orig_wire_bytes") + pl.sum("resp_wire_bytes")).item()
        assert total == len(mutant)
        assert flows["orig_bytes"][0] <= len(mutant)
