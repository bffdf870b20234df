"""A beacon that asks over HTTP or TLS, and the server that answers it; no command is ever run."""

from __future__ import annotations

import argparse
import http.client
import random
import ssl
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Control(BaseHTTPRequestHandler):
    """Mostly "nothing to do", at times a task's worth of bytes; takes uploads."""

    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""

    def do_GET(self) -> None:
        """A beacon's question."""
        body = random.randbytes(random.choice((0, 0, 4, 16, 16, 64, 1400, 9000) if random.random() < 0.3 else (16, 48)))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """A beacon's answer, or loot."""
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (part := self.rfile.read(min(left, 65536))):
            left -= len(part)
        self.do_GET()

    do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        """Keep no log."""


def serve(port: int, folder: str) -> None:
    """Listen; with a folder, over TLS with the certificate in it."""
    server = ThreadingHTTPServer(("0.0.0.0", port), Control)
    if folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def beacon(url: str, every: float, jitter: float, method: str, cookie: bool) -> None:
    """Ask again and again, a connection each time, until the time limit of whoever started it."""
    rng = random.Random(url)
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while True:
        try:
            if parts.scheme == "https":
                connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    parts.netloc, timeout=8, context=context
                )
            else:
                connection = http.client.HTTPConnection(parts.netloc, timeout=8)
            headers = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Trident/7.0; rv:11.0) like Gecko"}
            if cookie:
                headers["Cookie"] = "SESSIONID=" + rng.randbytes(96).hex()
            body = rng.randbytes(rng.choice((32, 48, 48, 400))) if method == "POST" else None
            connection.request(method, parts.path, body=body, headers=headers)
            connection.getresponse().read()
            connection.close()
        except OSError:
            pass
        time.sleep(every * rng.uniform(1 - jitter, 1 + jitter))


def main() -> None:
    """c2.py URL --every SECONDS --jitter SHARE [--method POST] [--cookie], or c2.py --serve PORT [--tls FOLDER]."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?", default="")
    parser.add_argument("--serve", type=int, default=0)
    parser.add_argument("--tls", default="")
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--jitter", type=float, default=0.2)
    parser.add_argument("--method", default="GET")
    parser.add_argument("--cookie", action="store_true")
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.tls)
    beacon(given.url, given.every, given.jitter, given.method, given.cookie)


if __name__ == "__main__":
    main()
