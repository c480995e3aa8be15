"""What the measurements of sources are run on: a registered connector, a file, a table that is followed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from clearwell.bench.scene import Scene, events
from clearwell.contract.model import Type
from clearwell.errors import ConfigError
from clearwell.registry import Registry, connectors, migrate

TRANSACTION = 1_000
"""Rows a transaction when a followed table is filled."""

_TYPES = {Type.STRING: "text", Type.INT32: "integer", Type.TIMESTAMP: "timestamptz"}
"""The types that flights have, in PostgreSQL."""


@contextmanager
def connector(bench_scene: Scene, source: str, config: Mapping[str, Any]) -> Iterator[str]:
    """A connector into the scene's stream for as long as the block runs; its name. `config` holds no secrets."""
    migrate(bench_scene.settings.postgres)
    registry = Registry(bench_scene.settings.postgres)
    name = bench_scene.stream
    try:
        with registry.session() as session:
            connectors.add(session, name, source, bench_scene.stream, config)
        yield name
    finally:
        with registry.session() as session:
            if connectors.find(session, name) is not None:
                connectors.remove(session, name)
        registry.close()


def write_file(bench_scene: Scene, count: int) -> Path:
    """`count` flights as NDJSON, in the scene's folder."""
    path = bench_scene.schemas / "events.ndjson"
    with path.open("wb") as file:
        file.writelines(event + b"\n" for event in events(count))
    return path


@contextmanager
def followed_table(bench_scene: Scene, count: int) -> Iterator[None]:
    """A table of `count` flights, which came after its publication and slots; all are called as the stream.

    Raises ConfigError when the server does not let us follow it.
    """
    name = sql.Identifier(bench_scene.stream)
    try:
        with psycopg.connect(bench_scene.settings.postgres, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, _columns(bench_scene)))
            connection.execute(sql.SQL("CREATE PUBLICATION {0} FOR TABLE {0}").format(name))
            for slot in slots(bench_scene):
                connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
            _fill(connection, bench_scene, count)
        yield
    except psycopg.errors.ObjectNotInPrerequisiteState:
        raise ConfigError(
            "The server does not replicate logically: set wal_level = logical, or run the bench on the embedded stack."
        ) from None
    except psycopg.errors.InsufficientPrivilege:
        raise ConfigError("The bench follows a table of its own: it needs CREATE and REPLICATION.") from None
    finally:
        _drop(bench_scene)


def slots(bench_scene: Scene) -> tuple[str, str]:
    """The connector's, and the limit's, which is never confirmed."""
    return bench_scene.stream, f"{bench_scene.stream}_limit"


def free_port() -> int:
    """A port on this machine that nobody listens on."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _columns(bench_scene: Scene) -> sql.Composable:
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(_TYPES[field.type]))
        for field in bench_scene.contract.fields
    ]
    return sql.SQL(", ").join([*columns, sql.SQL("PRIMARY KEY (id)")])


def _fill(connection: psycopg.Connection[Any], bench_scene: Scene, count: int) -> None:
    names = [field.name for field in bench_scene.contract.fields]
    copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(bench_scene.stream), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    rows = (json.loads(event) for event in events(count))
    with connection.cursor() as cursor:
        while some := list(islice(rows, TRANSACTION)):
            with cursor.copy(copy) as into:
                for row in some:
                    into.write_row([row.get(name) for name in names])


def _drop(bench_scene: Scene) -> None:
    """The table goes with the scene."""
    with psycopg.connect(bench_scene.settings.postgres, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots"
            " WHERE slot_name = ANY(%s) AND active",
            [list(slots(bench_scene))],
        )
        connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(bench_scene.stream)))
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ANY(%s)",
            [list(slots(bench_scene))],
        )
