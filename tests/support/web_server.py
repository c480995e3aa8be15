"""A real HTTP server in a thread, for whatever a test wants to answer; also with TLS by a certificate of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class WebServer:
    """Answers every request by `answer`, in a thread of its own; `url` has no slash at the end."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="web server", daemon=True)
        self._thread.start()
        self._tls = tls
        self.port = asyncio.run_coroutine_threadsafe(self._start(answer, port), self._loop).result(10)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    async def _start(self, answer: Answer, port: int) -> int:
        self._runner = web.ServerRunner(web.Server(answer, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=self._tls).start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=5)

    def close(self) -> None:
        """Cut every connection and end."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()


@contextmanager
def servers() -> Iterator[Callable[..., WebServer]]:
    """Starts servers (arguments as of `WebServer`) that end with the context."""
    started: list[WebServer] = []

    def start(answer: Answer, **options: Any) -> WebServer:
        started.append(WebServer(answer, **options))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.close()


class Changes:
    """Lets handlers in any event loop wait for what a test does in its thread."""

    def __init__(self) -> None:
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()

    def happened(self) -> None:
        """Wake all who wait."""
        with self._lock:
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, asking whenever something happened."""
        entry = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            self._waiting.add(entry)
        try:
            while not condition():
                await entry[1].wait()
                entry[1].clear()
        finally:
            with self._lock:
                self._waiting.discard(entry)


def self_signed(folder: Path, name: str = "127.0.0.1") -> tuple[ssl.SSLContext, Path]:
    """A server's TLS with a certificate that nobody knows, for `name`; and the PEM file that makes it known."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clearwell test")])
    try:
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(name))]
    except ValueError:
        names = [x509.DNSName(name)]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    ca, secret = folder / f"ca-{name}.pem", folder / f"key-{name}.pem"
    ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, secret)
    return context, ca


class Numbered:
    """Events in memory, as JSON: `fill` appends numbered ones, `put` any bytes."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.changes = Changes()
        self._filled = 0

    def fill(self, count: int) -> None:
        """Append the next `count` events."""
        self.events += [
            b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}' % (n, n)
            for n in range(self._filled, self._filled + count)
        ]
        self._filled += count
        self.changes.happened()

    def put(self, data: bytes) -> None:
        """Append one event."""
        self.events.append(data)
        self.changes.happened()
