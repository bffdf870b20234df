"""Something to send through a tunnel: requests and answers for a while, and their listener."""

from __future__ import annotations

import random
import socket
import socketserver
import sys
import time


class Answer(socketserver.StreamRequestHandler):
    """Sends as many bytes as it is asked for."""

    def handle(self) -> None:
        """One visitor."""
        for line in self.rfile:
            wanted = int(line.split()[0])
            self.wfile.write(random.randbytes(min(wanted, 200_000)))


class Listener(socketserver.ThreadingTCPServer):
    """Answers many at a time."""

    allow_reuse_address = True
    daemon_threads = True


def talk(host: str, port: int, seconds: float, hundreds: int) -> None:
    """Ask for some hundreds of bytes again and again: now keystrokes, now a file."""
    rng = random.Random(port)
    end = time.time() + seconds
    with socket.create_connection((host, port), timeout=10) as sock:
        sock.settimeout(8)
        while time.time() < end:
            wanted = rng.choice((20, 60, hundreds * 30, hundreds * 100, hundreds * 100))
            sock.sendall(f"{wanted} {'x' * rng.randrange(hundreds * 20)}\n".encode())
            got = 0
            while got < wanted and time.time() < end + 5:
                part = sock.recv(65536)
                if not part:
                    return
                got += len(part)
            time.sleep(rng.choice((0.05, 0.2, 1.0)))


def main() -> None:
    """through.py HOST PORT SECONDS HUNDREDS, or through.py --serve PORT."""
    if sys.argv[1] == "--serve":
        Listener(("0.0.0.0", int(sys.argv[2])), Answer).serve_forever()
    talk(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))


if __name__ == "__main__":
    main()
