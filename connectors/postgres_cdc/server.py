"""The PostgreSQL server behind `postgres_cdc`: connections, what their failures mean, tables and their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from clearwell.destinations.postgres.errors import on_connect, where
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.postgres_connection import BoundedConnection, pinned

OPTIONS = "-c datestyle=ISO -c intervalstyle=iso_8601 -c timezone=UTC -c bytea_output=hex -c extra_float_digits=3"
"""How values are written; the same in snapshots and in the stream (`postgres_cdc_types`)."""

DEAD_PEER: dict[str, Any] = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A server that is gone without a word is noticed within a minute."""

LOCK_SECONDS = 5
FIRST_VERSION = 15
GENERATED_VERSION = 18
"""From here on stored generated columns can be published."""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class TableInfo:
    """A published table. `kinds`: the columns' types by OID; `casts`: by name, of the key's columns.

    `filter`: the publication's condition for rows, as SQL. `alone`: without the tables that inherit from it; a
    partitioned table is its partitions. `left_out`: generated columns that the server does not send.
    """

    name: str
    columns: tuple[str, ...]
    kinds: tuple[int, ...]
    key: tuple[str, ...]
    casts: tuple[str, ...]
    filter: str | None
    alone: bool
    left_out: tuple[str, ...]


class ReplicationServer:
    """Connects when it is asked to; holds no connection."""

    def __init__(self, url: str) -> None:
        """Does no I/O."""
        self._url = url

    @property
    def place(self) -> str:
        """For messages, without user and password. Raises ConfigError when the URL can't be read.

        Or when a password is where only a URL's parser does not look for it (invariant 10).
        """
        place = where(self._url)
        if not self._url.startswith(("postgresql://", "postgres://")) or "password=" in self._url.partition("?")[2]:
            raise ConfigError(
                '`url` must be written as "postgresql://user:${env:CLEARWELL_SECRET_DB}@host:port/database".'
            )
        return place

    def connect(self, *, replication: bool = False) -> Connection:
        """A connection in autocommit mode. Raises ConfigError or Retryable. Blocks, about 10 s at most."""
        server, parts = self.place, conninfo_to_dict(self._url)
        more: dict[str, Any] = {"replication": "database"} if replication else {}
        patience = 0 if replication else LOCK_SECONDS  # a new slot waits for all who write now, however long they do
        options = f"{parts.get('options') or ''} {OPTIONS} -c lock_timeout={patience}s".strip()
        try:
            ours = {"options": options, "client_encoding": "UTF8", "application_name": "clearwell"}
            told = {"connect_timeout": int(parts.get("connect_timeout") or 10), **DEAD_PEER, **more}
            return BoundedConnection.connect(autocommit=True, **pinned({**parts, **ours, **told}))
        except psycopg.Error as error:
            if replication and ("walsender" in str(error) or "WAL sender" in str(error)):
                raise ConfigError(f"{server} lets this user not replicate: ALTER ROLE … REPLICATION.") from None
            raise on_connect(error, server, self._url) from None

    @contextmanager
    def session(self, doing: str) -> Iterator[Connection]:
        """An ordinary connection; `doing` says what for, in messages."""
        with self.connect() as connection, self.failures(doing):
            yield connection

    @contextmanager
    def failures(self, doing: str) -> Iterator[None]:
        """Turns what psycopg raises into what a person can read."""
        try:
            yield
        except psycopg.Error as error:
            raise self._meaning(error, doing) from None

    def _meaning(self, error: psycopg.Error, doing: str) -> ClearwellError:
        state = error.sqlstate or ""
        named = f"{type(error).__name__}{f', SQLSTATE {state}' if state else ''}"
        if isinstance(error, errors.InsufficientPrivilege):
            return ConfigError(f"{self.place} does not let this user {doing}: grant the missing right.")
        if state == "55006":
            return Retryable(f"{self.place} could not {doing}: the slot is in use by another connection.")
        if state == "55P03":
            return Retryable(
                f"{self.place} could not {doing} in {LOCK_SECONDS} s: another session holds a lock; end it, or wait."
            )
        if state == "53400":
            return ConfigError(f"{self.place} has all of its replication slots in use: raise max_replication_slots.")
        if state.startswith("42"):
            return ConfigError(f"{self.place} could not {doing} ({named}): was a table, slot or publication changed?")
        return Retryable(f"{self.place} failed ({named}) where Clearwell was to {doing}.")


def require_logical(connection: Connection, server: str) -> None:
    """Raises ConfigError when the server can't decode its log, or is too old."""
    if connection.info.server_version < FIRST_VERSION * 10_000:
        raise ConfigError(f"{server} is older than PostgreSQL {FIRST_VERSION}, the first this source can read.")
    level = connection.execute("SHOW wal_level").fetchall()[0][0]
    if level != "logical":
        raise ConfigError(f"{server} has wal_level = {level}: set wal_level = logical and restart the server.")


_TABLES = """
SELECT a.attname, a.atttypid::bigint, format_type(a.atttypid, a.atttypmod), a.attgenerated, c.relreplident,
       array_position(k.places, a.attnum), has_table_privilege(c.oid, 'SELECT'), c.relkind, c.relpersistence
FROM pg_class c
JOIN pg_namespace s ON s.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN LATERAL (
    SELECT i.indkey::int2[] AS places FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid
    AND CASE WHEN c.relreplident = 'i' THEN i.indisreplident ELSE i.indisprimary END
) k ON true
WHERE s.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')
ORDER BY a.attnum
"""


_CHILDREN = """
SELECT i.inhrelid::regclass::text
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent JOIN pg_namespace s ON s.oid = c.relnamespace
WHERE s.nspname = %s AND c.relname = %s AND c.relkind = 'r'
ORDER BY 1
"""


def qualified(name: str) -> str:
    """ "schema.table"; the schema is `public` where none is named."""
    return name if "." in name else f"public.{name}"


def find_table(connection: Connection, name: str) -> TableInfo:
    """A table with its key. Raises ConfigError when there is none, it may not be read, or a row of it has no name."""
    schema, _, table = qualified(name).partition(".")
    rows = connection.execute(_TABLES, [schema, table]).fetchall()
    if not rows:
        raise ConfigError(f"There is no table {schema}.{table} in this database: set `tables` right.")
    if rows[0][8] != "p":
        raise ConfigError(
            f"{schema}.{table} is not logged, so that its changes can't be followed: ALTER TABLE … SET LOGGED."
        )
    if not rows[0][6]:
        raise ConfigError(f"This user may not read {schema}.{table}: GRANT SELECT on it.")
    columns = sorted((row for row in rows if row[5] is not None), key=lambda row: int(row[5]))
    if not columns or rows[0][4] == "n":
        raise ConfigError(
            f"{schema}.{table} has no usable key, so PostgreSQL could not say which row an update or delete is of, and "
            "would refuse them once the table is published: give it a primary key, or a unique index of columns that "
            "are not null by ALTER TABLE … REPLICA IDENTITY USING INDEX."
        )
    sent = ("", "s") if connection.info.server_version >= GENERATED_VERSION * 10_000 else ("",)
    kept = [row for row in rows if row[3] in sent]
    if unsent := [row[0] for row in columns if row[3] not in sent]:
        raise ConfigError(
            f"The key of {schema}.{table} holds {unsent[0]}, a generated column, which PostgreSQL sends from version "
            f"{GENERATED_VERSION} on: give it another key by ALTER TABLE … REPLICA IDENTITY USING INDEX."
        )
    return TableInfo(
        f"{schema}.{table}",
        tuple(row[0] for row in kept),
        tuple(row[1] for row in kept),
        tuple(row[0] for row in columns),
        tuple(row[2] for row in columns),
        None,
        rows[0][7] == "r",
        tuple(row[0] for row in rows if row[3] not in sent),
    )


def children(connection: Connection, name: str) -> list[str]:
    """The tables that inherit from a table that is not partitioned."""
    schema, _, table = qualified(name).partition(".")
    return [str(row[0]) for row in connection.execute(_CHILDREN, [schema, table])]


def look_up_types(connection: Connection, oids: Sequence[int]) -> list[tuple[int, int, int]]:
    """(OID, base type of a domain or 0, element type of an array or 0), also of the types these are made of."""
    return [
        (int(oid), int(base), int(element))
        for oid, base, element in connection.execute(
            "WITH RECURSIVE seen(oid, base, element) AS ("
            " SELECT oid, typbasetype, CASE WHEN typcategory = 'A' AND typtype = 'b' THEN typelem ELSE 0 END"
            " FROM pg_type WHERE oid = ANY(%s::oid[])"
            " UNION SELECT t.oid, t.typbasetype,"
            " CASE WHEN t.typcategory = 'A' AND t.typtype = 'b' THEN t.typelem ELSE 0 END"
            " FROM seen JOIN pg_type t ON t.oid IN (seen.base, seen.element)"
            ") SELECT oid::bigint, base::bigint, element::bigint FROM seen",
            [list(oids)],
        )
    ]
