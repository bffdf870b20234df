"""Modbus asked and told what no operator's station does: raw requests of many functions."""

from __future__ import annotations

import random
import socket
import struct
import sys
import time


def request(what: str, rng: random.Random) -> bytes:
    """One request's function and data (Modbus application protocol V1.1b3)."""
    place, count = rng.randrange(2000), rng.choice((1, 2, 8, 16, 60))
    if what == "identify":
        return rng.choice((b"\x2b\x0e\x01\x00", b"\x2b\x0e\x03\x00", b"\x11", b"\x07", b"\x0b", b"\x08\0\0\xa5\x37"))
    if what == "write":
        values = [rng.randrange(65536) for _ in range(min(count, 16))]
        return rng.choice((
            struct.pack(">BHH", 5, place, rng.choice((0, 0xFF00))),
            struct.pack(">BHH", 6, place, values[0]),
            struct.pack(f">BHHB{len(values)}H", 16, place, len(values), 2 * len(values), *values),
            struct.pack(">BHHBB", 15, place, 8, 1, rng.randrange(256)),
        ))  # fmt: skip
    if what == "odd":
        return bytes([rng.choice((0x5A, 0x2B, 0x14, 0x16, 0x18, 0x41, 0x64))]) + rng.randbytes(rng.randint(0, 8))
    return struct.pack(">BHH", rng.choice((1, 2, 3, 4)), rng.choice((0, place)), count)


def main() -> None:
    """modbusprobe.py HOST PORT identify|write|odd|read CONNECTIONS REQUESTS PAUSE UNITS."""
    host, port, what, times, most = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    pause, units = float(sys.argv[6]), int(sys.argv[7])
    rng = random.Random(f"{what} {times} {units}")
    for number in range(times):
        try:
            with socket.create_connection((host, port), timeout=2) as sock:
                for turn in range(rng.randint(1, most)):
                    body = bytes([1 + number % units]) + request(what, rng)
                    sock.sendall(struct.pack(">HHH", rng.choice((0, number + turn)), 0, len(body)) + body)
                    sock.settimeout(0.6)
                    sock.recv(300)
        except OSError:
            pass
        time.sleep(rng.uniform(0.2, 1.8) * pause)


if __name__ == "__main__":
    main()
