"""A channel both ways in DNS, polls and pushes in questions of any type; and its server."""

from __future__ import annotations

import argparse
import base64
import random
import socket
import struct
import time

from dnsleak import resolver

KINDS = {
    "A": 1,
    "NS": 2,
    "CNAME": 5,
    "NULL": 10,
    "MX": 15,
    "TXT": 16,
    "KEY": 25,
    "AAAA": 28,
    "SRV": 33,
    "PRIVATE": 65399,
}
CODES = {"hex": bytes.hex, "b32": lambda data: base64.b32encode(data).decode().rstrip("=").lower(),
         "b64": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")}  # fmt: skip


def labels(name: str) -> bytes:
    """A name as the wire has it."""
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def question(data: bytes, given: argparse.Namespace, kind: int, number: int) -> bytes:
    """A question that carries `data`."""
    text = CODES[given.code](data)
    parts = [text[start : start + given.label] for start in range(0, len(text), given.label)]
    name = ".".join([*parts, given.domain])
    return struct.pack(">HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels(name) + struct.pack(">HH", kind, 1)


def talk(given: argparse.Namespace, rng: random.Random) -> None:
    """Poll while idle, push and pull while busy, each for a while."""
    server, end, number = (given.server or resolver(), 53), time.time() + given.seconds, rng.randrange(65536)
    kinds = [KINDS[name] for name in given.kinds.split(",")]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    busy, until = False, 0.0
    while time.time() < end:
        if time.time() > until:
            busy, until = rng.random() < 0.6, time.time() + rng.uniform(1, 5)
        if given.fresh:
            sock.close()
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(1)
        number += 1
        head = struct.pack(">HH", given.session, number & 0xFFFF)
        size = rng.randint(given.most // 2, given.most) if busy and rng.random() < given.push else rng.choice((0, 1, 4))
        try:
            sock.sendto(question(head + rng.randbytes(size), given, rng.choice(kinds), number), server)
            sock.recv(4096)
        except OSError:
            pass
        time.sleep(rng.expovariate(1 / (given.gap / 10 if busy else given.gap)))


def talk_anew(given: argparse.Namespace, rng: random.Random) -> None:
    """Hold one session after the other, each from a socket of its own and with ways of its own."""
    for session in range(given.sessions):
        given.session += session
        given.kinds = ",".join(rng.sample(sorted(KINDS), rng.choice((1, 1, 2, 3))))
        given.code, given.most, given.label = rng.choice(sorted(CODES)), rng.randint(8, 100), rng.randint(20, 63)
        given.push, given.gap = rng.random(), 0.05 * 2 ** rng.uniform(0, 4)
        talk(given, rng)


def answer(kind: int, rng: random.Random) -> bytes:
    """Data that a record of this type can hold."""
    size = rng.choice((2, 8, 40, 100, 160))
    if kind == KINDS["A"]:
        return rng.randbytes(4)
    if kind == KINDS["AAAA"]:
        return rng.randbytes(16)
    if kind == KINDS["TXT"]:
        text = base64.b64encode(rng.randbytes(size))[:250]
        return bytes([len(text)]) + text
    if kind in (KINDS["CNAME"], KINDS["NS"], KINDS["MX"], KINDS["SRV"]):
        text = rng.randbytes(min(size, 80)).hex()
        name = labels(".".join([*(text[start : start + 60] for start in range(0, len(text), 60)), "t", "example"]))
        lead = {KINDS["MX"]: b"\0\x0a", KINDS["SRV"]: b"\0\x01\0\x01\0\x35"}.get(kind, b"")
        return lead + name
    return rng.randbytes(size)


def serve() -> None:
    """Answer every question with one record."""
    rng = random.Random(0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 53))
        while True:
            asked, sender = sock.recvfrom(2048)
            end = asked.find(b"\0", 12) + 5
            kind = struct.unpack(">H", asked[end - 4 : end - 2])[0]
            data = answer(kind, rng)
            record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, rng.choice((0, 1, 3)), len(data)) + data
            sock.sendto(asked[:2] + b"\x84\x00" + struct.pack(">HHHH", 1, 1, 0, 0) + asked[12:end] + record, sender)


def main() -> None:
    """dnstunnel.py DOMAIN --kinds A,TXT --code hex|b32|b64 --most BYTES --gap SECONDS [--fresh], or --serve.

    With --sessions N all but the seconds of each is drawn by chance.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("domain")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--kinds", default="TXT", help=f"record types asked for, of {','.join(KINDS)}")
    parser.add_argument("--code", choices=sorted(CODES), default="hex")
    parser.add_argument("--most", type=int, default=30, help="bytes that a question carries at most")
    parser.add_argument("--label", type=int, default=60, help="length of its labels")
    parser.add_argument("--push", type=float, default=0.5, help="share of busy questions that carry data")
    parser.add_argument("--gap", type=float, default=0.4, help="mean seconds between polls")
    parser.add_argument("--fresh", action="store_true", help="each question from a socket of its own")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--session", type=int, default=7, help="its number, and the seed")
    parser.add_argument("--sessions", type=int, help="how many to hold, each with ways drawn by chance")
    parser.add_argument("--server", help="whom to ask instead of the host's resolver")
    given = parser.parse_args()
    if given.serve:
        serve()
    (talk_anew if given.sessions else talk)(given, random.Random(given.session))


if __name__ == "__main__":
    main()
