"""`/metrics` and `/healthz` of a process, on threads of their own: whoever asks costs little, whatever they send."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from clearwell.metrics.process_metrics import ProcessMetrics

log = logging.getLogger(__name__)

THREADS = 2
"""Requests answered at once; the next ones wait in the system's queue (invariant 12)."""

QUEUE = 16
"""Connections that may wait."""

HEAD_LIMIT = 8_192
"""Bytes of a request's head; there is no reason for a body."""

SECONDS = 5.0
"""How long one connection may take from its first byte to its end."""

HealthCheck = Callable[[], Sequence[str]]
"""What is wrong with the process, in sentences without data or secrets (invariants 9, 10). Must not block."""


class MetricsServer:
    """A small HTTP/1.1 server: one request a connection, GET and HEAD, two paths."""

    def __init__(self, metrics: ProcessMetrics, problems: HealthCheck, address: tuple[str, int] | None) -> None:
        """`address`: host and port, port 0 for any free one; None: it serves nothing."""
        self._metrics = metrics
        self._problems = problems
        self._address = address
        self._listening: socket.socket | None = None

    def start(self) -> str:
        """Serve from now on; returns "http://host:port", or "" where it is off or the address can't be had.

        That is logged; it is no reason for a process not to do its work.
        """
        if self._address is None:
            return ""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listening = socket.create_server((host, port), family=family, backlog=QUEUE)
        except OSError as error:
            log.error(
                "No metrics are served: cannot listen on %s:%d (%s). Free that address, or set CLEARWELL_METRICS.",
                host, port, error.strerror or "no such host",
            )  # fmt: skip
            return ""
        for number in range(THREADS):
            threading.Thread(target=self._serve, args=(self._listening,), name=f"metrics {number}", daemon=True).start()
        named = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - told so
        endpoint = f"http://{f'[{named}]' if ':' in named else named}:{self._listening.getsockname()[1]}"
        log.info("metrics at %s/metrics", endpoint)
        return endpoint

    def close(self) -> None:
        """Serve no more; harmless when it never did."""
        if self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the threads that accept
            self._listening.close()
            self._listening = None

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                if self._listening is not listening:
                    return
                time.sleep(0.1)  # out of files, say: it passes
                continue
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    pass  # the other side has gone, or was too slow
                except Exception as error:  # a bug of ours must not end the thread; its text may quote anything
                    log.error("a request for metrics could not be answered (%s)", type(error).__name__)

    def _answer(self, connection: socket.socket) -> None:
        deadline = time.monotonic() + SECONDS
        head = _read_head(connection, deadline)
        response = self._response(head) if head is not None else _response(400, "bad request\n")
        _send(connection, response, deadline)

    def _response(self, head: str) -> bytes:
        request, *headers = head.split("\r\n")
        method, _, rest = request.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if path not in ("/metrics", "/healthz"):
            response = _response(404, "not found\n")
        elif method not in ("GET", "HEAD"):
            response = _response(405, "use GET\n")
        elif path == "/metrics":
            response = self._figures(_accept(headers))
        else:
            response = self._health()
        return response if method != "HEAD" else response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def _figures(self, accept: str) -> bytes:
        if "application/openmetrics-text" in accept:
            page = openmetrics.generate_latest(self._metrics.registry)  # type: ignore[no-untyped-call]
            return _response(200, page, openmetrics.CONTENT_TYPE_LATEST)
        return _response(200, generate_latest(self._metrics.registry), CONTENT_TYPE_PLAIN_0_0_4)

    def _health(self) -> bytes:
        problems = list(self._problems())
        if not problems:
            return _response(200, "ok\n")
        return _response(503, json.dumps({"problems": problems}) + "\n", "application/json")


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _response(status: int, body: str | bytes, content_type: str = "text/plain; charset=utf-8") -> bytes:
    encoded = body.encode() if isinstance(body, str) else body
    allow = "Allow: GET, HEAD\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n{allow}"
        f"Content-Length: {len(encoded)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + encoded


def _read_head(connection: socket.socket, deadline: float) -> str | None:
    """The head of a request, without its end; None where it is too long, no HTTP, or does not end."""
    received = b""
    while b"\r\n\r\n" not in received:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        more = connection.recv(HEAD_LIMIT)
        received += more
        if not more or len(received) > HEAD_LIMIT:
            return None
    head = received.partition(b"\r\n\r\n")[0].decode("latin-1")
    return head if head.partition("\r\n")[0].rpartition(" ")[2].startswith("HTTP/1.") else None


def _send(connection: socket.socket, response: bytes, deadline: float) -> None:
    connection.settimeout(max(deadline - time.monotonic(), 0.001))  # of `sendall` altogether
    connection.sendall(response)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(HEAD_LIMIT):  # a reset would take the answer from one who still sends
        connection.settimeout(max(deadline - time.monotonic(), 0.001))


def _accept(headers: Sequence[str]) -> str:
    return next((value for name, _, value in (line.partition(":") for line in headers) if name.lower() == "accept"), "")
