"""A small web application for the range: open to SQL injection, pretends other holes."""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

RNG = random.Random(sys.argv[2] if len(sys.argv) > 2 else "0")


def make_database() -> sqlite3.Connection:
    """Goods and customers, in memory."""
    base = sqlite3.connect(":memory:", check_same_thread=False)
    base.execute("create table items (id integer, name text, price real, note text)")
    base.execute("create table customers (id integer, mail text, card text)")
    for number in range(200):
        note = "good " * RNG.randrange(2, 60)
        base.execute("insert into items values (?, ?, ?, ?)", (number, f"item {number}", RNG.random() * 100, note))
        card = f"{RNG.randrange(10**15)}"
        base.execute("insert into customers values (?, ?, ?)", (number, f"c{number}@shop.example", card))
    return base


BASE = make_database()


class Shop(BaseHTTPRequestHandler):
    """The application's pages."""

    protocol_version = "HTTP/1.1"
    server_version = "shop/1.2"

    def answer(self, status: int, body: bytes, kind: str = "text/html") -> None:
        """Send one response."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def select(self, sql: str) -> None:
        """Run a query that the visitor helped to write: the hole."""
        try:
            rows = BASE.execute(sql).fetchmany(50)
        except sqlite3.Error as error:
            self.answer(500, f"<html>database error: {error}</html>".encode())
            return
        cells = "".join(f"<tr><td>{'</td><td>'.join(map(str, row))}</td></tr>" for row in rows)
        self.answer(200 if rows else 404, f"<html><h1>Goods</h1><table>{cells}</table></html>".encode())

    def page(self, name: str) -> None:
        """A page by its name. It looks as if it read files: what leads out of its folder gets made-up accounts."""
        if ".." in name or name.startswith(("/", "file:", "php:")):
            accounts = "".join(
                f"user{number}:x:{1000 + number}:1000::/home/user{number}:/bin/sh\n" for number in range(30)
            )
            self.answer(200, accounts.encode(), "text/plain")
        elif name.removesuffix(".html").isalnum():
            self.answer(200, f"<html><h1>{name}</h1>{'text ' * (50 + len(name) * 40)}</html>".encode())
        else:
            self.answer(500, b"<html>failed to open stream</html>")

    def ping(self, host: str) -> None:
        """Whether a host is up. It looks as if it ran a command; nothing is run, all answers are made up."""
        lines = [f"64 bytes from {number}: seq={number} time={RNG.random():.3f} ms" for number in range(3)]
        if any(sign in host for sign in ";|&`$\n"):
            lines.append("uid=33(www-data) gid=33(www-data) groups=33(www-data)")
        self.answer(200, f"<html><pre>{chr(10).join(lines)}</pre></html>".encode())

    def do_GET(self) -> None:
        """Pages that are read."""
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/app/item":
            self.select(f"select name, price, note from items where id = {query.get('id', ['1'])[0]}")
        elif parts.path == "/app/page":
            self.page(query.get("file", ["about"])[0])
        elif parts.path == "/app/ping":
            self.ping(query.get("host", ["127.0.0.1"])[0])
        elif parts.path in ("/health", "/app/health"):
            self.answer(200, json.dumps({"status": "ok", "time": time.time()}).encode(), "application/json")
        elif parts.path == "/app/list":
            start = RNG.randrange(150)
            self.select(f"select name, price from items where id between {start} and {start + RNG.randrange(5, 40)}")
        else:
            self.answer(404, b"<html>no such page</html>")

    def do_POST(self) -> None:
        """Forms and uploads."""
        left = int(self.headers.get("Content-Length") or 0)
        path = urlsplit(self.path).path
        if path == "/app/search":
            query = parse_qs(self.rfile.read(left).decode(errors="replace"))
            self.select(f"select name, price from items where name like '%{query.get('q', [''])[0]}%' limit 20")
            return
        if path == "/app/login":
            query = parse_qs(self.rfile.read(left).decode(errors="replace"))
            good = query.get("password", [""])[0] == "right-horse"
            self.answer(200 if good else 403, b"<html>welcome</html>" if good else b"<html>wrong password</html>")
            return
        while left > 0 and (part := self.rfile.read(min(left, 65536))):
            left -= len(part)
        self.answer(201, b'{"stored": true}', "application/json")

    do_PUT = do_POST
    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Keep no log."""


def main() -> None:
    """shop.py PORT SEED."""
    ThreadingHTTPServer.request_queue_size = 128
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()


if __name__ == "__main__":
    main()
