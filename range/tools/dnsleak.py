"""Data out by DNS, the plain way: random bytes in names; and the server that takes them."""

from __future__ import annotations

import argparse
import base64
import random
import socket
import struct
import sys
import time
from pathlib import Path

KINDS = {"A": 1, "TXT": 16, "AAAA": 28, "NULL": 10}


def resolver() -> str:
    """The host's own resolver, as any program finds it."""
    for line in Path("/etc/resolv.conf").read_text().splitlines():
        if line.startswith("nameserver"):
            return line.split()[1]
    raise SystemExit("dnsleak: /etc/resolv.conf names no resolver")


def ask(server: str, name: str, kind: int) -> None:
    """One question from a socket of its own."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = (
        struct.pack(">HHHHHH", random.randrange(65536), 0x0100, 1, 0, 0, 0)
        + labels
        + b"\0"
        + struct.pack(">HH", kind, 1)
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(2)
        sock.sendto(question, (server, 53))
        try:
            sock.recv(2048)
        except OSError:
            pass


def leak(domain: str, size: int, code: str, kind: str, gap: float) -> None:
    """Send `size` random bytes as names under `domain`."""
    rng = random.Random(size)
    number, server = 0, resolver()
    while size > 0:
        chunk = rng.randbytes(min(size, rng.choice((20, 50, 90))))
        text = chunk.hex() if code == "hex" else base64.b32encode(chunk).decode().rstrip("=").lower()
        parts = [text[start : start + 60] for start in range(0, len(text), 60)]
        ask(server, ".".join([*parts, f"{number:x}", domain]), KINDS[kind])
        size, number = size - len(chunk), number + 1
        time.sleep(rng.expovariate(1 / gap))


def serve(domain: str) -> None:
    """Answer every question under the domain with a little data."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 53))
        while True:
            question, sender = sock.recvfrom(2048)
            end = question.find(b"\0", 12) + 5
            kind = struct.unpack(">H", question[end - 4 : end - 2])[0]
            if kind == KINDS["TXT"]:
                text = base64.b64encode(random.randbytes(random.choice((6, 60, 130))))
                data = bytes([len(text)]) + text
            elif kind == KINDS["A"]:
                data = random.randbytes(4)
            else:
                data = b""
            count = 1 if data else 0
            record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 1, len(data)) + data if data else b""
            sock.sendto(
                question[:2] + b"\x84\x00" + struct.pack(">HHHH", 1, count, 0, 0) + question[12:end] + record, sender
            )


def main() -> None:
    """dnsleak.py DOMAIN --bytes N --code hex|b32 --kind A|TXT --gap SECONDS, or dnsleak.py --serve DOMAIN."""
    parser = argparse.ArgumentParser()
    parser.add_argument("domain")
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--bytes", type=int, default=4000)
    parser.add_argument("--code", choices=("hex", "b32"), default="hex")
    parser.add_argument("--kind", choices=sorted(KINDS), default="A")
    parser.add_argument("--gap", type=float, default=0.2)
    given = parser.parse_args(sys.argv[1:])
    if given.serve:
        serve(given.domain)
    leak(given.domain, given.bytes, given.code, given.kind, given.gap)


if __name__ == "__main__":
    main()
