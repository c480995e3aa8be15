"""The receiver of a webhook: a kept connection, and what its answers mean.

Messages name host and port alone: a webhook's path often is its secret (invariant 10). Redirects are not followed:
events would go to whoever they name. Addresses are judged at the moment of connecting.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from clearwell.deadline import broken_off
from clearwell.destinations.http.requests import PostRequest
from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.egress import connect
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.retry_after import retry_after

_BUSY = (408, 425, 429)
_MEND = {
    401: "does not accept who we are (401): set `secret_headers` right",
    403: "does not let us in (403): set `secret_headers` right, or let this sender in",
    404: "has nothing at this URL (404): set `url` right",
    405: "takes no POST at this URL (405): set `url` right",
    410: "wants no more events at this URL (410): remove the route, or set `url` right",
}
_BROKEN = (ConnectionError, http.client.CannotSendRequest, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""What a connection raises that the other side has ended, a kept one above all."""

_SLACK = 5.0
"""Seconds beyond `timeout` that an answer may take from its first byte to its last."""

_ANSWER_BYTES = 65_536
"""An answer is read to its end, so that the connection can be used again, up to this size."""


class Receiver:
    """One URL. One thread at a time."""

    def __init__(self, url: str, headers: Mapping[str, str], ca: str | None, timeout: float) -> None:
        """Does no I/O but reading `ca`. Raises ConfigError, not quoting the URL, when it is none."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or parts.scheme not in ("http", "https") or not url.isascii() or " " in url:
            raise ConfigError("`url` is no URL that begins with https:// or http://.")
        if "@" in parts.netloc:
            raise ConfigError("`url` holds a user or password: write an Authorization header in `secret_headers`.")
        for name, value in headers.items():
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum() or not value.isprintable():
                raise ConfigError(f'The header "{name}" has a name or value that HTTP does not take.')
        tls = _trust(ca) if parts.scheme == "https" else None
        self._host, self._port = host, port or (443 if tls else 80)
        self._name = f"{host}:{self._port}"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._headers = {"user-agent": "clearwell", **headers}
        self._timeout, self._tls = timeout, tls
        self._connection: _Connection | None = None
        self._not_before = 0.0

    def post(self, request: PostRequest, what: str) -> None:
        """Return when the receiver has said that it has the events; `what` tells which they are, for messages.

        Raises RowsRefused when it refuses them, Retryable when it is not well or asked us to come again later,
        ConfigError when it would refuse any.
        """
        left = self._not_before - time.monotonic()
        if left > 0:
            raise Retryable(f"{self._name} asked us to wait, {left:.0f} seconds more.")
        status, headers = self._answer(request)
        if status < 300:
            return
        if status in _BUSY or status >= 500:
            self._not_before = time.monotonic() + (retry_after(headers.get("Retry-After")) or 0.0)
            raise Retryable(f"{self._name} can't take events now ({status}).")
        if status < 400:
            raise ConfigError(f"{self._name} redirects ({status}), which is not followed: set `url` to where it leads.")
        if status in _MEND:
            raise ConfigError(f"{self._name} {_MEND[status]}.")
        reason = RowReason.TOO_LARGE if status == 413 else RowReason.REJECTED
        raise RowsRefused(reason, f"{self._name} refuses {what} ({status}).")

    def reach(self) -> None:
        """Connect, and shake hands where there is TLS; no request is sent. Raises Retryable and ConfigError."""
        with self._failures():
            if self._connection is None:
                connection = self._connection = _Connection(self._host, self._port, self._timeout, self._tls)
                connection.connect()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _answer(self, request: PostRequest) -> tuple[int, http.client.HTTPMessage]:
        kept = self._connection is not None
        with self._failures():
            try:
                return self._exchange(request)
            except _BROKEN:
                if not kept:
                    raise
                self.close()  # a kept connection ends at any time: that says nothing about the receiver
            return self._exchange(request)

    def _exchange(self, request: PostRequest) -> tuple[int, http.client.HTTPMessage]:
        if self._connection is None:
            self._connection = _Connection(self._host, self._port, self._timeout, self._tls)
        connection = self._connection
        with broken_off(
            self._timeout + _SLACK, lambda: _break(connection)
        ):  # each byte would have a timeout of its own
            connection.request("POST", self._path, request.body, {**self._headers, **request.headers})
            answer = connection.getresponse()
            if len(answer.read(_ANSWER_BYTES)) == _ANSWER_BYTES:
                self.close()
        return answer.status, answer.headers

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """What Python raises becomes ours; the connection is given up, since nothing more can be read from it."""
        try:
            yield
        except (*_BROKEN, OSError, http.client.HTTPException) as error:
            self.close()
            raise self._meaning(error) from None

    def _meaning(self, error: Exception) -> ClearwellError:
        if isinstance(error, _BROKEN):
            return Retryable(f"{self._name} can't be reached, or broke the connection off.")
        if isinstance(error, ssl.SSLCertVerificationError):
            reason = error.verify_message
            return ConfigError(f"{self._name} could not prove who it is ({reason}): set `ca` or `url` right.")
        if isinstance(error, ssl.SSLError):
            return ConfigError(f"{self._name} does not speak TLS as it should: is `url` right?")
        if isinstance(error, socket.gaierror):
            return Retryable(f"{self._name} can't be found: its name does not resolve.")
        if isinstance(error, TimeoutError):
            return Retryable(f"{self._name} did not answer in {self._timeout:g} seconds.")
        if isinstance(error, http.client.HTTPException):
            return Retryable(f"{self._name} did not answer as an HTTP server does ({type(error).__name__}).")
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
        return Retryable(f"{self._name} can't be reached ({reason}).")


def _break(connection: _Connection) -> None:
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    """Connects to addresses that may be reached, and no others; with TLS where there is a context."""

    def __init__(self, host: str, port: int, timeout: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(host, port, timeout=timeout)
        self._tls = tls
        self._seconds = timeout

    def connect(self) -> None:
        """Raises ConfigError when no address may be reached, OSError when none answers."""
        plain = connect(self.host, self.port, self._seconds)
        with contextlib.ExitStack() as stack:
            stack.callback(plain.close)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host) if self._tls else plain
            stack.pop_all()


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError):
        raise ConfigError(f"{ca} holds no certificates in PEM form: set `ca` right.") from None
