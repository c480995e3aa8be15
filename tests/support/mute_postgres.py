"""A server that lets PostgreSQL's clients in, answers their first statements, then takes all and says nothing more."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

_HELLO = b"R" + struct.pack("!ii", 8, 0) + b"Z" + struct.pack("!i", 5) + b"I"


@contextlib.contextmanager
def mute_postgres(refuse: str | None = None) -> Iterator[str]:
    """Its address, as long as the context lasts. `refuse`: a SQLSTATE with which it ends each session at once."""
    listening = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                held.append(client)
                _greet(client, refuse)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"postgresql://someone:pw-canary@127.0.0.1:{listening.getsockname()[1]}/db?sslmode=disable"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for client in held:
            client.close()
        thread.join(5)


def _greet(client: socket.socket, refuse: str | None) -> None:
    client.recv(65_536)
    client.sendall(_HELLO)
    if refuse is not None:
        client.recv(65_536)
        fields = b"SFATAL\0VFATAL\0C" + refuse.encode() + b"\0Mthe canary is in the text\0\0"
        client.sendall(b"E" + struct.pack("!i", 4 + len(fields)) + fields)
        client.close()
