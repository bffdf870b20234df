"""A watch's statistics, written to a file and served: /metrics for Prometheus, /healthz."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kshot.errors import OutputError, UserError

_STATES = frozenset(
    (
        "drift",
        "drift_log10_wealth",
        "alarm_rate",
        "alerts_open",
        "queued",
        "lag_bytes",
        "lag_seconds",
        "adapt_seconds",
        "uptime_seconds",
        "records",
        "batches",
    )
)
"""Statistics that may fall, or are not counted from the start of the process: gauges; the rest are counters."""
_TIMEOUT_SECONDS = 5.0
_WRITE_SECONDS = 5.0


def metrics_text(stats: Mapping[str, Any]) -> str:
    """Give the numbers of `stats` as Prometheus reads them (text format 0.0.4).

    >>> print(metrics_text({"alerts": 2, "queued": 0, "source": {"bad_lines": 1}}), end="")
    # TYPE kshot_alerts_total counter
    kshot_alerts_total 2
    # TYPE kshot_queued gauge
    kshot_queued 0
    # TYPE kshot_source_bad_lines_total counter
    kshot_source_bad_lines_total 1
    """
    lines = []
    flat = {name: value for name, value in stats.items() if not isinstance(value, Mapping)}
    for group, inner in stats.items():
        if isinstance(inner, Mapping):
            flat |= {f"{group}_{name}": value for name, value in inner.items()}
    for name, value in flat.items():
        kind = "gauge" if name in _STATES else "counter"
        full = f"kshot_{name}" + ("_total" if kind == "counter" else "")
        lines += [f"# TYPE {full} {kind}", f"{full} {value}"]
    return "\n".join(lines) + "\n"


def serve_metrics(stats: Callable[[], Mapping[str, Any]], host: str, port: int) -> ThreadingHTTPServer:
    """Listen; the caller runs `serve_forever`.

    Raises:
        OutputError: the address cannot be listened on.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, metrics_text(stats()), "text/plain; version=0.0.4; charset=utf-8")
            elif self.path == "/healthz":
                self._answer(200, "ok\n", "text/plain; charset=utf-8")
            else:
                self._answer(404, "there are /metrics and /healthz\n", "text/plain; charset=utf-8")

        def _answer(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: a scrape a second is no news."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: a client that leaves is no fault."""

    try:
        return Server((host, port), Handler)
    except OSError as error:
        raise OutputError(f"--metrics {host}:{port}: {error.strerror or error}; choose another port") from error


@contextmanager
def side_jobs(
    stats: Callable[[], Mapping[str, Any]], file: Path | None, address: tuple[str, int] | None, log: Callable[..., None]
) -> Iterator[None]:
    """Write `stats` to a file now and then, and serve them, while a watch runs."""
    over = threading.Event()
    threads = []
    if file is not None:
        _write(stats(), file)
        threads.append(threading.Thread(target=_keep_writing, args=(stats, file, log, over), daemon=True))
    server = None
    if address is not None:
        server = serve_metrics(stats, *address)
        log("serving", host=address[0], port=server.server_address[1])
        threads.append(threading.Thread(target=server.serve_forever, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        if server is not None:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join(5.0)
        if file is not None:
            _write(stats(), file)


def _keep_writing(
    stats: Callable[[], Mapping[str, Any]], file: Path, log: Callable[..., None], over: threading.Event
) -> None:
    while not over.wait(_WRITE_SECONDS):
        try:
            _write(stats(), file)
        except OutputError as error:
            log("stats_failed", why=str(error))


def _write(stats: Mapping[str, Any], file: Path) -> None:
    from kshot.store import whole_file

    with whole_file(file) as whole:
        whole.path.write_text(json.dumps(stats) + os.linesep)


def address_of(told: str) -> tuple[str, int]:
    """Host and port of `--metrics`. Raises `UserError`."""
    host, _, port = told.rpartition(":")
    if not port.isdigit() or int(port) > 65_535:
        raise UserError(f"--metrics {told!r} is no [HOST:]PORT; give a port such as 9109")
    return host.strip("[]") or "127.0.0.1", int(port)
