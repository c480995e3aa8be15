"""A PostgreSQL that refuses connections, in whatever language: told by SQLSTATE."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.postgres.refusal import sqlstate_of_refusal
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.settings import Settings
from tests.conformance.stores import SIMPLE, reveals_nothing

CANARY = "pw-canary-3c9a"


@contextmanager
def german(code: str, words: str) -> Iterator[str]:
    """A server that answers every start of a session with an error as a German PostgreSQL words it; gives its URL."""
    fields = {"S": "SCHWERWIEGEND", "V": "FATAL", "C": code, "M": words}
    body = b"".join(name.encode() + text.encode() + b"\0" for name, text in fields.items()) + b"\0"
    answer = b"E" + struct.pack(">I", len(body) + 4) + body

    def serve() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            with client, client.makefile("rb") as said:
                while len(head := said.read(8)) == 8:
                    size, kind = struct.unpack(">II", head)
                    said.read(size - 8)
                    encryption = kind in (80877103, 80877104)  # SSLRequest, GSSENCRequest
                    client.sendall(b"N" if encryption else answer)
                    if not encryption:
                        break

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"postgresql://somebody:{CANARY}@127.0.0.1:{listening.getsockname()[1]}/events"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("code", "words", "kind", "said"),
    [
        ("28P01", f"Passwort-Authentifizierung für Benutzer »{CANARY}« fehlgeschlagen", ConfigError, "or the password"),
        ("28000", "kein pg_hba.conf-Eintrag für Host »127.0.0.1«", ConfigError, "pg_hba.conf"),
        ("3D000", f"Datenbank »{CANARY}« existiert nicht", ConfigError, "has no such database"),
        ("42501", "keine Berechtigung für Datenbank events", ConfigError, "grant CONNECT"),
        ("57P03", "das Datenbanksystem startet", Retryable, "SQLSTATE 57P03"),
        ("53300", "tut mir leid, schon zu viele Verbindungen", Retryable, "SQLSTATE 53300"),
    ],
)
def test_the_language_of_the_server_does_not_matter(
    code: str, words: str, kind: type[ClearwellError], said: str
) -> None:
    with german(code, words) as dsn:
        with pytest.raises(kind, match=said) as caught:
            PostgresDestination(dsn, SIMPLE, "events", "group").open()
        assert reveals_nothing(caught.value, CANARY)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"password": "wrong"}, "28P01"),
        ({"dbname": "no_such_database"}, "3D000"),
        ({"port": "1"}, ""),
        ({"sslmode": "bogus"}, ""),
        ({}, ""),
    ],
)
def test_the_code_of_a_real_server(stack: Settings, change: dict[str, str], code: str) -> None:
    assert sqlstate_of_refusal(make_conninfo(stack.postgres, **change)) == code


def test_a_database_that_takes_no_connections_is_waited_for(stack: Settings, unique: Callable[[str], str]) -> None:
    name = unique("closed")
    with psycopg.connect(stack.postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} CONNECTION LIMIT 0")
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
        try:
            dsn = make_conninfo(stack.postgres, dbname=name, user=name, password="x")
            with pytest.raises(Retryable, match="SQLSTATE 53300"):
                PostgresDestination(dsn, SIMPLE, "events", "group").open()
        finally:
            admin.execute(f"DROP DATABASE {name}")
            admin.execute(f"DROP ROLE {name}")


def test_no_descriptor_is_left_open(stack: Settings) -> None:
    dsn = make_conninfo(stack.postgres, password="wrong")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        sqlstate_of_refusal(dsn)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
