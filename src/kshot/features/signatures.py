"""What payloads of each service begin with, as data for one small matcher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot.features.services import SERVICE_ID

_TRANSPORT_CODE = {"any": 0, "tcp": 6, "udp": 17}


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to tell a service."""

    service: str
    transport: str
    """"tcp", "udp" or "any"."""
    tests: tuple[tuple[int, int, int], ...]
    """(offset, least, greatest) of single bytes."""
    least_bytes: int
    """How much payload there must be, of the 64 that are kept."""
    length_at: int = -1
    """Where two bytes tell the message's own length, which must fit into what is there; -1 nowhere."""


def _mark(service: str, transport: str, pattern: bytes, offset: int = 0) -> Signature:
    tests = tuple((offset + k, byte, byte) for k, byte in enumerate(pattern))
    return Signature(service, transport, tests, offset + len(pattern))


def _shape(
    service: str, transport: str, least_bytes: int, ranges: dict[int, int | tuple[int, int]], length_at: int = -1
) -> Signature:
    tests = tuple((at, *(r if isinstance(r, tuple) else (r, r))) for at, r in ranges.items())
    return Signature(service, transport, tests, least_bytes, length_at)


def _zeros(begin: int, end: int) -> dict[int, int | tuple[int, int]]:
    return {at: 0 for at in range(begin, end)}


_HTTP_BEGINS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PATCH ", b"TRACE ",
                b"PROPFIND ", b"HTTP/1.", b"PRI * HTTP/2")  # fmt: skip
_SIP_BEGINS = (b"SIP/2.0 ", b"INVITE sip", b"REGISTER sip", b"OPTIONS sip", b"NOTIFY sip", b"SUBSCRIBE sip", b"BYE sip")
_UPPER = (0x41, 0x50)
"""NetBIOS writes half-bytes as the letters A to P (RFC 1001)."""
_PRINTABLE = (0x21, 0x7E)
_LEGAL_LENGTH = (0, 0x48)
"""High byte of a TLS record's length, at most 2^14 + 2048 (RFC 5246)."""

_STRONG: tuple[Signature, ...] = (
    *(_mark("sip", "any", begin) for begin in _SIP_BEGINS),
    *(_mark("rtsp", "tcp", begin) for begin in (b"RTSP/1.0 ", b"OPTIONS rtsp", b"DESCRIBE rtsp")),
    *(_mark("ssdp", "udp", begin) for begin in (b"M-SEARCH *", b"NOTIFY * HTTP", b"HTTP/1.1 ")),
    *(_mark("http", "tcp", begin) for begin in _HTTP_BEGINS),
    _shape("tls", "tcp", 5, {0: (20, 23), 1: 3, 2: (0, 4), 3: _LEGAL_LENGTH}),
    _shape("dtls", "udp", 13, {0: (20, 25), 1: 0xFE, 2: (0xFD, 0xFF)}),
    _mark("ssh", "tcp", b"SSH-"),
    *(_mark("smb", "tcp", begin, 4) for begin in (b"\xffSMB", b"\xfeSMB", b"\xfdSMB")),
    *(_mark("mqtt", "tcp", b"\x00\x04MQTT", at) for at in (2, 3)),
    _mark("mqtt", "tcp", b"\x00\x06MQIsdp", 2),
    *(_mark("smtp", "tcp", begin) for begin in (b"EHLO ", b"HELO ", b"ehlo ", b"helo ")),
    _mark("imap", "tcp", b"* OK"),
    _mark("pop3", "tcp", b"+OK"),
    *(_mark("irc", "tcp", begin) for begin in (b"NICK ", b"CAP LS")),
    *(_mark("xmpp", "tcp", begin) for begin in (b"<stream:stream", b"<?xml version='1.0'")),
    *(_mark("soap", "udp", begin) for begin in (b"<?xml", b"<soap")),
    *(_mark("jsonrpc", "tcp", begin) for begin in (b'{"id"', b'{"jsonrpc"', b'{"method"', b'{"params"')),
    _mark("rfb", "tcp", b"RFB 00"),
    _mark("rsync", "tcp", b"@RSYNCD:"),
    _mark("amqp", "tcp", b"AMQP"),
    _mark("adb", "tcp", b"CNXN"),
    _mark("bittorrent", "tcp", b"\x13BitTorrent"),
    *(_mark("bittorrent", "udp", begin) for begin in (b"d1:ad2:id20:", b"d1:rd2:id20:", b"\x00\x00\x04\x17\x27\x10")),
    _mark("stun", "any", b"\x21\x12\xa4\x42", 4),
    _mark("bitcoin", "tcp", b"\xf9\xbe\xb4\xd9"),
    _mark("postgres", "tcp", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
    _shape("postgres", "tcp", 9, {0: 0, 1: 0, 4: 0, 5: 3, 6: 0, 7: 0}),
    *(_mark("dcerpc", "tcp", begin + b"\x03\x10\x00\x00\x00") for begin in (b"\x05\x00\x0b", b"\x05\x00\x0c")),
    *(_mark("mongodb", "tcp", operation + b"\x07\x00\x00", 12) for operation in (b"\xdd", b"\xd4")),
    *(_mark("redis", "tcp", begin) for begin in (b"+PONG\r\n", b"-NOAUTH ")),
    *(_mark("redis", "tcp", b"\r\n$", at) for at in (2, 3)),
    *(_mark("memcached", "udp", command, 8) for command in (b"stats", b"get ", b"set ")),
    *(_mark("memcached", "tcp", begin) for begin in (b"stats\r\n", b"STAT ")),
    _mark("ntp", "udp", b"\x17\x00\x03\x2a"),
    _mark("s7comm", "tcp", b"\x02\xf0\x80\x32", 4),
    *(_shape("s7comm", "tcp", 12, {0: 3, 1: 0, 5: kind, 11: (0xC0, 0xC2)}) for kind in (0xD0, 0xE0)),
    *(_shape("rdp", "tcp", 11, {0: 3, 1: 0, 5: kind}, length_at=2) for kind in (0xD0, 0xE0)),
    *(_shape("quic", "udp", 20, {0: (0xC0, 0xFF), 1: a, 2: b, 3: c, 5: (0, 20)})
      for a, b, c in ((0, 0, 0), (0xFF, 0, 0), (0x6B, 0x33, 0x43))),
    _shape("quic", "udp", 14, {9: 0x51, 10: 0x30, 11: (0x30, 0x39)}),
    _shape("netbios", "udp", 50, {4: 0, 5: (0, 1), 12: 0x20, 13: _UPPER, 14: _UPPER, 15: _UPPER, 16: _UPPER}),
    _mark("netbios", "tcp", b"\x81\x00\x00\x44\x20"),
    _shape("dhcp", "udp", 64, {0: (1, 2), 1: 1, 2: 6, 3: (0, 16)}),
)  # fmt: skip
"""Looked for first, from the top."""

_SHAPES: tuple[Signature, ...] = (
    *(_shape("ntp", "udp", 48, {0: (first | 1, first | 5), 1: (0, 16), 2: (0, 17)})
      for first in (leap << 6 | version << 3 for leap in range(4) for version in range(1, 5))),
    _shape("dnp3", "any", 10, {0: 5, 1: 0x64, 2: (5, 255)}),
    _shape("mysql", "tcp", 10, {3: 0, 4: 10, 5: (0x33, 0x39), 6: 0x2E}),
    _shape("mssql", "tcp", 8, {0: 0x12, 1: 1, 2: (0, 16), 4: 0, 5: 0}, length_at=2),
    *(_shape("enip", "tcp", 24, {0: r, 1: 0, **_zeros(8, 12)}) for r in (4, (0x63, 0x66), (0x6F, 0x70))),
    *(_shape("kerberos", "tcp", 10, {0: 0, 1: 0, 4: kind, 5: (0x81, 0x82)}) for kind in ((0x6A, 0x6F), 0x7E)),
    *(_shape("kerberos", "udp", 12, {0: kind, 1: form, form - 0x7E: 0x30})
      for kind in ((0x6A, 0x6F), 0x7E) for form in (0x81, 0x82)),
    _shape("rpc", "tcp", 20, {0: 0x80, **_zeros(8, 15), 15: 2}),
    _shape("rpc", "udp", 24, {**_zeros(4, 11), 11: 2, 12: 0, 13: (1, 255)}),
    _shape("rtmp", "tcp", 64, {0: 3, **_zeros(5, 9)}),
    _shape("bacnet", "udp", 8, {0: 0x81, 1: (0, 11)}, length_at=2),
    *(_shape("ipsec", "udp", 28, {17: version, 18: kind, 24: 0, 25: 0})
      for version, kind in ((0x10, (2, 5)), (0x10, 32), (0x20, (34, 37)))),
    *(_shape("radius", "udp", 20, {0: kind, 2: high, 3: low}, length_at=2)
      for kind in ((1, 5), (11, 13)) for high, low in ((0, (20, 255)), ((1, 16), (0, 255)))),
    _shape("wireguard", "udp", 32, {0: (1, 2), 1: 0, 2: 0, 3: 0}),
    _shape("tftp", "udp", 9, {0: 0, 1: (1, 2), 2: _PRINTABLE, 3: _PRINTABLE, 4: _PRINTABLE}),
    _shape("syslog", "udp", 5, {0: 0x3C, 1: (0x30, 0x39), 2: (0x30, 0x3E)}),
    *(_shape("openvpn", "udp", 14, {0: kind, 9: 0, 10: 0, 11: 0}) for kind in (0x38, 0x40)),
    *(_shape("coap", "udp", 6 + token, {0: kind + token, 1: (1, 4), 4 + token: option})
      for token in (0, 1, 2, 4, 8) for kind in (0x40, 0x50) for option in ((0x30, 0x3F), (0xB0, 0xBF))),
)  # fmt: skip
"""Looked for after what structure.py knows."""

_WEAK: tuple[Signature, ...] = (
    *(_mark("ftp", "tcp", begin) for begin in (b"USER ", b"AUTH TLS", b"FEAT\r\n", b"220")),
    _mark("irc", "tcp", b"PASS "),
    *(_mark("socks", "tcp", begin) for begin in (b"\x05\x01\x00", b"\x05\x02\x00", b"\x04\x01\x00")),
    _mark("redis", "tcp", b"-ERR "),
    *(_mark("netbios", "udp", b"\x11" + flags) for flags in (b"\x02", b"\x0a", b"\x0e", b"\x1a")),
    _shape("telnet", "tcp", 3, {0: 0xFF, 1: (0xFB, 0xFE)}),
    *(_shape("rtp", "udp", 20, {0: first, 1: kind})
      for first in (0x80, 0x90) for kind in ((0, 34), (96, 127), (128, 162), (200, 204), (224, 255))),
)  # fmt: skip
"""Marks that other protocols bear too: they count only where nothing better is found in either direction."""

_ALL = (*_STRONG, *_SHAPES, *_WEAK)
STRONG_END = len(_STRONG)
SHAPES_END = STRONG_END + len(_SHAPES)
SIGNATURES = len(_ALL)
TESTS = np.array([test for signature in _ALL for test in signature.tests], np.int64)
"""(tests, 3) offset, least and greatest value of a byte, signature after signature."""
FACTS = np.array(
    [
        (SERVICE_ID[s.service], _TRANSPORT_CODE[s.transport], s.least_bytes, s.length_at, end - len(s.tests), end)
        for s, end in zip(_ALL, np.cumsum([len(s.tests) for s in _ALL]), strict=True)
    ],
    np.int64,
)
"""(signatures, 6) service id, protocol number or 0, least payload, `length_at`, its tests' begin and end in TESTS."""
