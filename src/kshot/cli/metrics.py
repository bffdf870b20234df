"""Serves a watch's statistics: /metrics in Prometheus' text format, /healthz for whoever restarts it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kshot.errors import OutputError

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
