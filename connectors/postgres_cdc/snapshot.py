"""Tables as they are, in pages by key, in one transaction that sees one moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec
from psycopg import IsolationLevel
from psycopg.sql import SQL, Composed, Identifier, Literal

from clearwell.source import SourceEvent
from connectors.postgres_cdc.column_types import Types
from connectors.postgres_cdc.events import Table, Transaction, Write, event_of
from connectors.postgres_cdc.server import Connection, ReplicationServer, TableInfo

_EARLY_TIME = """
SELECT clock_timestamp() AT TIME ZONE 'UTC' - CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE')
    THEN interval '0' ELSE interval '1 minute' END,
    (SELECT min(xact_start) FROM pg_stat_activity WHERE backend_xid IS NOT NULL) AT TIME ZONE 'UTC'
"""


def early_time(connection: Connection) -> str:
    """A time that is no later than the commit of any change that a snapshot taken after this call does not show.

    A transaction stamps its commit a moment before others see it. One that writes now began at its `xact_start` or
    later, and one that does not write yet will stamp its commit after now. Whoever may not see others' times (they take
    `pg_read_all_stats`) gets a minute's margin.
    """
    now, oldest = connection.execute(_EARLY_TIME).fetchall()[0]
    early: datetime = now if oldest is None else min(now, oldest)
    return early.isoformat(timespec="microseconds") + "Z"


class TableSnapshot:
    """Reads pages of tables. `lsn` is the slot's consistent point, part of every row's id."""

    def __init__(self, connection: Connection, lsn: str, time: str, write: Write, taken: frozenset[str]) -> None:
        """Use `snapshot`."""
        self._connection = connection
        self._moment = Transaction(lsn, time, None)
        self._write = write
        self._taken = taken

    def page(
        self, info: TableInfo, types: Types, after: Sequence[str], size: int
    ) -> tuple[list[SourceEvent], list[str] | None, int]:
        """At most `size` rows after a key (none: the first), the key of the last, None when there are no more; and how
        many rows the server sent."""
        table = table_of(info, types, self._taken)
        result = self._connection.execute(_query(info, after, size)).pgresult
        assert result is not None
        width, moment, key = len(info.columns), self._moment, table.key
        events = []
        last: list[str] = []
        for row in range(result.ntuples):
            values = [result.get_value(row, column) for column in range(width)]
            last = [(values[index] or b"").decode() for index in key]
            row_id = f"{moment.lsn}@{info.name}/{_key_text(last)}"
            events.append(event_of(row_id, self._write, "r", table, moment, None, values))
        return events, last if result.ntuples == size else None, result.ntuples


class Exported(NamedTuple):
    """A snapshot that a connection holds for us, and the `early_time` of before it."""

    name: str
    time: str


@contextmanager
def snapshot(
    server: ReplicationServer, lsn: str, exported: Exported | None, write: Write, taken: frozenset[str]
) -> Iterator[TableSnapshot]:
    """A snapshot: the exported one, or, when that is gone, one of now."""
    with server.session("read the tables") as connection:
        time = exported.time if exported is not None else early_time(connection)
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            if exported is not None:
                connection.execute(SQL("SET TRANSACTION SNAPSHOT {}").format(Literal(exported.name)))
            yield TableSnapshot(connection, lsn, time, write, taken)


def table_of(info: TableInfo, types: Types, taken: frozenset[str]) -> Table:
    """How the rows of a table are written."""
    key = [info.columns.index(name) for name in info.key]
    return Table(info.name, info.columns, [types.to_json(kind) for kind in info.kinds], key, taken)


def _query(info: TableInfo, after: Sequence[str], size: int) -> Composed:
    key = SQL(", ").join(map(Identifier, info.key))
    conditions = []
    if after:
        values = [SQL("{}::" + cast).format(Literal(value)) for value, cast in zip(after, info.casts, strict=True)]
        conditions.append(SQL("({}) > ({})").format(key, SQL(", ").join(values)))
    if info.filter is not None:
        conditions.append(SQL("(" + info.filter.replace("{", "{{").replace("}", "}}") + ")").format())
    return SQL("SELECT {} FROM {}{}{} ORDER BY {} LIMIT {}").format(
        SQL(", ").join(map(Identifier, info.columns)),
        SQL("ONLY " if info.alone else ""),
        Identifier(*info.name.partition(".")[::2]),
        SQL(" WHERE ") + SQL(" AND ").join(conditions) if conditions else SQL(""),
        key,
        Literal(size),
    )


def _key_text(key: Sequence[str]) -> str:
    return key[0] if len(key) == 1 else msgspec.json.encode(key).decode()
