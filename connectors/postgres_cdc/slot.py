"""A publication and a replication slot: found, made, lost, dropped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg.errors import ObjectInUse
from psycopg.sql import SQL, Identifier, Literal

from clearwell.backoff import delays
from clearwell.errors import ConfigError
from connectors.postgres_cdc.decode import lsn_number, lsn_text
from connectors.postgres_cdc.server import GENERATED_VERSION, Connection, ReplicationServer, TableInfo, find_table

OURS = "Made by Clearwell for the replication slot "
"""Begins the comment on a publication that we may drop again."""

READER_LEAVES_WITHIN = 5.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as it is. `confirmed`: changes before this place are given up."""

    name: str
    confirmed: int


def find_slot(connection: Connection, name: str, server: str) -> Slot | None:
    """The slot. Raises ConfigError when it is of no use to us: another database's, not pgoutput's, or invalidated."""
    rows = connection.execute(
        "SELECT slot_type, plugin, database = current_database(), wal_status, confirmed_flush_lsn::text"
        " FROM pg_replication_slots WHERE slot_name = %s",
        [name],
    ).fetchall()
    if not rows:
        return None
    kind, plugin, here, status, confirmed = rows[0]
    if kind != "logical" or plugin != "pgoutput" or not here:
        raise ConfigError(f"The replication slot {name} at {server} is another program's: name another in `slot`.")
    if status == "lost" or confirmed is None:
        raise ConfigError(
            f"{server} has thrown away the log that the replication slot {name} needed (max_slot_wal_keep_size or "
            "an idle timeout): changes are lost. Reset the connector, so that it begins anew with a snapshot."
        )
    return Slot(name, lsn_number(confirmed))


def require_slot(slot: Slot | None, name: str, server: str, position: int) -> None:
    """Raises ConfigError when what committed after `position` can't be had from the slot any more."""
    if slot is None:
        raise ConfigError(
            f"The replication slot {name} at {server} was dropped: changes after {lsn_text(position)} can't be read. "
            "Reset the connector, so that it begins anew with a snapshot."
        )
    if slot.confirmed > position:
        raise ConfigError(
            f"The replication slot {name} at {server} has given up the changes from {lsn_text(position)} to "
            f"{lsn_text(slot.confirmed)}: set a later position, or reset the connector for a new snapshot."
        )


def published(connection: Connection, name: str, tables: Sequence[TableInfo]) -> list[TableInfo] | None:
    """The tables with the publication's columns and row filters; None when there is no publication of that name.

    Raises ConfigError when it holds other tables than these, or not all their changes.
    """
    published_rows = connection.execute(
        "SELECT pubinsert AND pubupdate AND pubdelete FROM pg_publication WHERE pubname = %s", [name]
    ).fetchall()
    if not published_rows:
        return None
    if not published_rows[0][0]:
        raise ConfigError(f"The publication {name} leaves out inserts, updates or deletes: it must publish all three.")
    rows = connection.execute(
        "SELECT schemaname || '.' || tablename, attnames::text[], rowfilter FROM pg_publication_tables"
        " WHERE pubname = %s",
        [name],
    ).fetchall()
    apart = sorted({row[0] for row in rows} ^ {table.name for table in tables})
    if apart:
        raise ConfigError(
            f"The publication {name} holds other tables than `tables`; they differ by {', '.join(apart)}: make them "
            "the same (FOR TABLE ONLY leaves out who inherits), or name a publication that is not there yet."
        )
    told = {name: (set(columns), filter_) for name, columns, filter_ in rows}
    return [_limited(table, *told[table.name]) for table in tables]


def _limited(table: TableInfo, columns: set[str], row_filter: str | None) -> TableInfo:
    if not columns.issuperset(table.key):
        raise ConfigError(f"The publication leaves out key columns of {table.name}: it must hold all of the key.")
    kept = [(name, kind) for name, kind in zip(table.columns, table.kinds, strict=True) if name in columns]
    out = (*table.left_out, *(name for name in table.columns if name not in columns))
    return replace(
        table,
        left_out=out,
        columns=tuple(name for name, _ in kept),
        kinds=tuple(kind for _, kind in kept),
        filter=row_filter,
    )


def find_tables(connection: Connection, publication: str, names: Sequence[str], create: bool) -> list[TableInfo]:
    """The tables as they are published, or, with `create` and no publication yet, as they would be."""
    tables = [find_table(connection, name) for name in names]
    tables_found = published(connection, publication, tables)
    if tables_found is None and not create:
        raise ConfigError(
            f"There is no publication {publication}: create it, or set `create: true`; if it was dropped, changes are "
            "lost, so reset the connector."
        )
    return tables if tables_found is None else tables_found


def publish(connection: Connection, publication: str, slot: str, tables: Sequence[TableInfo]) -> None:
    """Make the publication where it is missing, and note that it is ours. It must be there before the slot is."""
    if connection.execute("SELECT 1 FROM pg_publication WHERE pubname = %s", [publication]).fetchall():
        return
    named = [
        SQL("ONLY {}" if table.alone else "{}").format(Identifier(*table.name.partition(".")[::2])) for table in tables
    ]
    options = "publish_via_partition_root"
    if connection.info.server_version >= GENERATED_VERSION * 10_000:
        options += ", publish_generated_columns = stored"
    with connection.transaction():
        connection.execute(
            SQL("CREATE PUBLICATION {} FOR TABLE {} WITH ({})").format(
                Identifier(publication), SQL(", ").join(named), SQL(options)
            )
        )
        connection.execute(SQL("COMMENT ON PUBLICATION {} IS {}").format(Identifier(publication), Literal(OURS + slot)))


def require_room(connection: Connection, server: str) -> None:
    """Raises ConfigError when the server takes no more replication slots."""
    used, most = connection.execute(
        "SELECT count(*), current_setting('max_replication_slots')::int FROM pg_replication_slots"
    ).fetchall()[0]
    if used >= most:
        raise ConfigError(f"{server} has all of its {most} replication slots in use: raise max_replication_slots.")


def drop(server: ReplicationServer, slot: str, publication: str) -> None:
    """Drop the slot, and the publication if we made it; harmless when they are gone."""
    with server.session("drop the replication slot") as connection:
        _drop_slot(connection, slot)
        ours = connection.execute(
            "SELECT 1 FROM pg_publication p WHERE pubname = %s AND obj_description(p.oid, 'pg_publication') = %s",
            [publication, OURS + slot],
        ).fetchall()
        if ours:
            connection.execute(SQL("DROP PUBLICATION IF EXISTS {}").format(Identifier(publication)))


def _drop_slot(connection: Connection, slot: str) -> None:
    """A server takes a moment to notice that the slot's reader has gone: until then it is in use."""
    until = time.monotonic() + READER_LEAVES_WITHIN
    for wait in delays():
        try:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s AND plugin = 'pgoutput' AND database = current_database()",
                [slot],
            )
            return
        except ObjectInUse:
            if time.monotonic() + wait > until:
                raise
            time.sleep(wait)
