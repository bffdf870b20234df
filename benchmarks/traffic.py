"""Makes captures of an office network with known threats hidden in them; seeded, always the same."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

RESOLVER = "10.20.0.53"
_WORDS = (
    "mail news cloud static shop video api img cdn login docs maps data files app assets update search play media "
    "store blog time weather sports music photo drive calendar chat"
).split()
_ZONES = ("example.com", "example.org", "example.net", "corp.example", "edge.example.net", "svc.example.com")
_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


@dataclass(slots=True)
class Traffic:
    """Packets of many conversations, in any order until they are written."""

    random: Random
    packets: list[tuple[float, bytes]] = field(default_factory=list)
    """(seconds since the epoch, frame)."""

    def udp(self, time: float, source: str, port: int, target: str, target_port: int, payload: bytes) -> None:
        """Add one datagram."""
        datagram = struct.pack(">HHHH", port, target_port, 8 + len(payload), 0) + payload
        self.packets.append((time, _frame(source, target, 17, datagram, self.random.getrandbits(16))))

    def write(self, path: Path) -> None:
        """Write all packets as a pcap, in the order of time."""
        self.packets.sort(key=lambda packet: packet[0])
        with path.open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
            for time, frame in self.packets:
                microseconds = round(time * 1e6)
                head = (microseconds // 1_000_000, microseconds % 1_000_000, len(frame), len(frame))
                file.write(struct.pack("<IIII", *head) + frame)


class Connection:
    """A TCP connection in the making: every method adds packets and moves its clock."""

    def __init__(self, traffic: Traffic, time: float, client: str, server: str, port: int, round_trip: float) -> None:
        self.traffic, self.time, self.round_trip = traffic, time, round_trip
        self.ends = ((client, traffic.random.randrange(32_768, 61_000)), (server, port))
        self.sequence = [traffic.random.getrandbits(32), traffic.random.getrandbits(32)]

    def _send(self, side: int, flags: int, payload: bytes = b"") -> None:
        (source, port), (target, target_port) = self.ends[side], self.ends[1 - side]
        numbers = (self.sequence[side] & 0xFFFFFFFF, self.sequence[1 - side] & 0xFFFFFFFF if flags & ACK else 0)
        segment = struct.pack(">HHIIBBHHH", port, target_port, *numbers, 5 << 4, flags, 64_240 - 1_000 * side, 0, 0)
        frame = _frame(source, target, 6, segment + payload, self.traffic.random.getrandbits(16))
        self.traffic.packets.append((self.time, frame))
        self.sequence[side] += len(payload) + bool(flags & (SYN | FIN))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.time += seconds

    def open(self) -> None:
        """Shake hands."""
        self._send(0, SYN)
        self.wait(self.round_trip)
        self._send(1, SYN | ACK)
        self.wait(0.0002)
        self._send(0, ACK)

    def say(self, side: int, payload: bytes) -> None:
        """Send bytes from the client (0) or the server (1) in full segments, and acknowledge the last."""
        self.wait(self.round_trip / 2)
        for at in range(0, len(payload), 1_448):
            part = payload[at : at + 1_448]
            self._send(side, ACK | (PSH if at + 1_448 >= len(payload) else 0), part)
            self.wait(0.00005)
        self._send(1 - side, ACK)

    def close(self) -> None:
        """End it from both sides."""
        self.wait(0.001)
        self._send(0, FIN | ACK)
        self.wait(self.round_trip)
        self._send(1, FIN | ACK)
        self.wait(0.0001)
        self._send(0, ACK)


def _frame(source: str, target: str, protocol: int, payload: bytes, number: int) -> bytes:
    addresses = bytes(map(int, source.split("."))) + bytes(map(int, target.split(".")))
    ttl = 64 if source.startswith("10.") else 52
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), number, 0x4000, ttl, protocol, 0) + addresses
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    macs = b"\x02\x00" + addresses[4:8] + b"\x02\x00" + addresses[:4]
    return macs + b"\x08\x00" + header[:10] + struct.pack(">H", checksum) + header[12:] + payload


def _noise(random: Random, least: int, most: int) -> bytes:
    return random.randbytes(random.randint(least, most))


def _question(name: str, kind: int, number: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def _answer(question: bytes, kind: int, data: list[bytes]) -> bytes:
    head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(data), 0, 0)
    records = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 300, len(datum)) + datum for datum in data)
    return head + question[12:] + records


def lookup(traffic: Traffic, time: float, client: str) -> None:
    """Ask the resolver for a name; most answers are one or two addresses."""
    random = traffic.random
    name = f"{random.choice(_WORDS)}{random.choice(('', '', str(random.randint(1, 40))))}.{random.choice(_ZONES)}"
    kind = random.choice((1, 1, 1, 28))
    port = random.randrange(1_024, 65_000)
    for again in range(1 if random.random() < 0.9 else 2):
        at = time + again * 0.01
        question = _question(name, kind, random.getrandbits(16))
        traffic.udp(at, client, port, RESOLVER, 53, question)
        data = [random.randbytes(4 if kind == 1 else 16) for _ in range(random.choice((1, 1, 2, 4)))]
        answer = _answer(question, kind, data)
        traffic.udp(at + random.uniform(0.0004, 0.03), RESOLVER, 53, client, port, answer)


def clock(traffic: Traffic, time: float, client: str) -> None:
    """Ask for the time (NTP)."""
    port = traffic.random.choice((123, traffic.random.randrange(30_000, 60_000)))
    traffic.udp(time, client, port, "192.0.2.123", 123, b"\x23" + traffic.random.randbytes(47))
    traffic.udp(time + 0.02, "192.0.2.123", 123, client, port, b"\x24" + traffic.random.randbytes(47))


def _server(random: Random) -> str:
    return f"{random.choice(('192.0.2', '198.51.100', '203.0.113'))}.{random.randint(20, 240)}"


def _tls(connection: Connection) -> None:
    random = connection.traffic.random
    connection.open()
    connection.say(0, b"\x16\x03\x01\x02\x00\x01" + _noise(random, 500, 560))
    connection.say(1, b"\x16\x03\x03\x00\x7a\x02" + _noise(random, 2_400, 4_600))
    connection.say(0, b"\x14\x03\x03\x00\x01\x01" + _noise(random, 60, 90))


def browse(traffic: Traffic, time: float, client: str) -> None:
    """Fetch a page and some of what it shows over TLS."""
    random = traffic.random
    connection = Connection(traffic, time, client, _server(random), 443, random.uniform(0.005, 0.09))
    _tls(connection)
    for _ in range(min(int(random.expovariate(0.35)) + 1, 14)):
        connection.say(0, b"\x17\x03\x03" + _noise(random, 120, 900))
        connection.say(1, b"\x17\x03\x03" + random.randbytes(min(int(random.lognormvariate(8.2, 1.2)), 40_000)))
        connection.wait(random.expovariate(1.5))
    connection.close()


def plain_web(traffic: Traffic, time: float, client: str) -> None:
    """Fetch something over HTTP without TLS."""
    random = traffic.random
    connection = Connection(traffic, time, client, _server(random), 80, random.uniform(0.005, 0.06))
    connection.open()
    path = "/".join(random.sample(_WORDS, 2))
    connection.say(0, f"GET /{path} HTTP/1.1\r\nHost: {random.choice(_ZONES)}\r\nUser-Agent: office\r\n\r\n".encode())
    body = random.randbytes(min(int(random.lognormvariate(7.5, 1.0)), 20_000))
    connection.say(1, f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    connection.close()


def shell(traffic: Traffic, time: float, client: str) -> None:
    """Work over SSH for a while."""
    random = traffic.random
    connection = Connection(traffic, time, client, f"10.20.9.{random.randint(2, 9)}", 22, 0.0008)
    connection.open()
    connection.say(1, b"SSH-2.0-OpenSSH_9.6\r\n")
    connection.say(0, b"SSH-2.0-OpenSSH_9.2\r\n")
    connection.say(0, _noise(random, 1_300, 1_500))
    connection.say(1, _noise(random, 900, 1_200))
    for _ in range(random.randint(5, 40)):
        connection.wait(random.expovariate(0.8))
        connection.say(0, _noise(random, 36, 52))
        connection.say(1, _noise(random, 36, 700))
    connection.close()


def mail(traffic: Traffic, time: float, client: str) -> None:
    """Hand a letter to the mail server."""
    random = traffic.random
    connection = Connection(traffic, time, client, "10.20.0.25", 25, 0.001)
    connection.open()
    connection.say(1, b"220 mail.corp.example ESMTP\r\n")
    for line in ("EHLO desk", "MAIL FROM:<a@corp.example>", "RCPT TO:<b@example.org>", "DATA"):
        connection.say(0, line.encode() + b"\r\n")
        connection.say(1, b"250 ok\r\n")
    connection.say(0, b"Subject: report\r\n\r\n" + _noise(random, 800, 30_000) + b"\r\n.\r\n")
    connection.say(1, b"250 queued\r\n")
    connection.close()


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A DNS tunnel: data in the names of its questions, and in its answers."""

    host: str
    resolver: str
    zone: str
    kind: int
    """The record type asked for: 16 TXT, 10 NULL, 5 CNAME."""
    name_bytes: tuple[int, int]
    answer_bytes: tuple[int, int]
    questions: tuple[int, int]
    """In one flow."""
    gap_seconds: float
    flows: int


def tunnel(traffic: Traffic, start: float, length: float, told: Tunnel) -> None:
    """Add the tunnel's flows, each from a new port."""
    random = traffic.random
    for _ in range(told.flows):
        time, port = start + random.uniform(0, length), random.randrange(1_024, 65_000)
        for _ in range(random.randint(*told.questions)):
            label = "".join(random.choices(_BASE32, k=random.randint(*told.name_bytes)))
            name = ".".join([*(label[at : at + 60] for at in range(0, len(label), 60)), told.zone])
            question = _question(name, told.kind, random.getrandbits(16))
            traffic.udp(time, told.host, port, told.resolver, 53, question)
            data = _noise(random, *told.answer_bytes)
            if told.kind == 16:  # TXT is made of strings, each with its length before it
                data = b"".join(
                    bytes([len(data[at : at + 255])]) + data[at : at + 255] for at in range(0, len(data), 255)
                )
            answer = _answer(question, told.kind, [data])
            traffic.udp(time + random.uniform(0.02, 0.06), told.resolver, 53, told.host, port, answer)
            time += random.expovariate(1 / told.gap_seconds)


_DAY: tuple[tuple[Callable[[Traffic, float, str], None], float], ...] = (
    (lookup, 0.60),
    (browse, 0.26),
    (clock, 0.05),
    (plain_web, 0.05),
    (mail, 0.03),
    (shell, 0.01),
)
"""What an office does, and how much of it."""


def office(traffic: Traffic, start: float, length: float, conversations: int, hosts: int = 40) -> None:
    """Add the benign conversations of an office over `length` seconds."""
    random = traffic.random
    desks = [f"10.20.1.{number + 10}" for number in range(hosts)]
    acts, weights = zip(*_DAY, strict=True)
    for act in random.choices(acts, weights, k=conversations):
        act(traffic, start + random.uniform(0, length), random.choice(desks))
