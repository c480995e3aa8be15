"""A pooler before PostgreSQL as pgbouncer is in transaction mode: each transaction may have another session.

It refuses startup parameters that it does not know, gives process ids of its own, and resets nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg

_KNOWN = {"user", "database", "application_name", "client_encoding", "datestyle", "timezone"}
_TOLD = (b"server_version", b"client_encoding", b"standard_conforming_strings", b"DateStyle", b"TimeZone")


class Pooler:
    """Passes the transactions of its clients to `size` sessions, each to the one that was idle longest."""

    def __init__(self, address: str, size: int) -> None:
        self._sessions = [psycopg.connect(address, autocommit=True) for _ in range(size)]
        self._told = [(name, self._sessions[0].pgconn.parameter_status(name) or b"") for name in _TOLD]
        self._idle = deque(socket.socket(fileno=os.dup(session.pgconn.socket)) for session in self._sessions)
        for sock in self._idle:
            sock.setblocking(True)
        self._free = threading.Condition()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for sock in (self._listening, *self._clients, *self._idle):
            sock.close()
        for session in self._sessions:
            session.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self._clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), client:
            if self._greet(client):
                while self._transaction(client):
                    pass

    def _greet(self, client: socket.socket) -> bool:
        while True:
            size, code = struct.unpack("!ii", _exactly(client, 8))
            rest = _exactly(client, size - 8)
            if code not in (80877103, 80877104):  # TLS and GSS are asked for first
                break
            client.sendall(b"N")
        words = rest.split(b"\0")
        unknown = {word.decode() for word in words[0:-2:2]} - _KNOWN
        if unknown:
            text = f"SFATAL\0C08P01\0Munsupported startup parameter: {min(unknown)}\0\0".encode()
            client.sendall(b"E" + struct.pack("!i", 4 + len(text)) + text)
            return False
        told = b"".join(_message(b"S", name + b"\0" + value + b"\0") for name, value in self._told)
        key = _message(b"K", struct.pack("!ii", 4_000_000 + len(self._clients), 1))
        client.sendall(_message(b"R", struct.pack("!i", 0)) + told + key + _message(b"Z", b"I"))
        return True

    def _transaction(self, client: socket.socket) -> bool:
        data = client.recv(65_536)
        if not data or data[:1] == b"X":
            return False
        with self._free:
            self._free.wait_for(lambda: bool(self._idle), 30)
            server = self._idle.popleft()
        try:
            server.sendall(data)
            buffered = b""
            while True:
                readable, _, _ = select.select([client, server], [], [], 30)
                if client in readable:
                    data = client.recv(65_536)
                    if not data:
                        return False
                    server.sendall(data)
                if server in readable:
                    data = server.recv(65_536)
                    client.sendall(data)
                    buffered, status = _last_status(buffered + data)
                    if status == b"I" and not buffered:
                        return True
        finally:
            with self._free:
                self._idle.append(server)
                self._free.notify()


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        some = sock.recv(size - len(data))
        if not some:
            raise OSError("closed")
        data += some
    return data


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", 4 + len(body)) + body


def _last_status(data: bytes) -> tuple[bytes, bytes]:
    """What is left after the whole messages in `data`, and the status of a ReadyForQuery if that is the last one."""
    status = b""
    while len(data) >= 5 and len(data) >= 1 + (size := struct.unpack("!i", data[1:5])[0]):
        status = data[5:6] if data[:1] == b"Z" else b""
        data = data[1 + size :]
    return data, status


@contextlib.contextmanager
def pooler_to(address: str, size: int = 3) -> Iterator[str]:
    """The URL of the same database through a pooler."""
    pooler = Pooler(address, size)
    port = urlsplit(address).port
    try:
        yield address.replace(f":{port}/", f":{pooler.port}/")
    finally:
        pooler.close()
