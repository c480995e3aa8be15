"""Changes of PostgreSQL tables, by logical replication: the rows as they are, then every insert, update and delete."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from clearwell.errors import ConfigError
from clearwell.source import SECRET_IN_URL, Batch, BatchEvents, Count, DiscoveredStream, SourceConfig, SourcePosition
from connectors.postgres_cdc.decode import lsn_number
from connectors.postgres_cdc.events import ADDED, ENVELOPES
from connectors.postgres_cdc.read import PostgresCdcPosition, ReplicationReader, ReplicationReadPlan, learned
from connectors.postgres_cdc.server import ReplicationServer, children, find_table, qualified, require_logical
from connectors.postgres_cdc.slot import drop, find_slot, find_tables, require_room
from connectors.postgres_cdc.snapshot import snapshot
from connectors.reader_thread import CountedBatch, ReaderThread
from connectors.samples import json_objects
from connectors.sql.rows import zone_of

SAMPLE = 200
Name = Annotated[str, Meta(pattern="^[a-z0-9_]{1,63}$")]
Tables = Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)]
_ADDED_TYPES = dict(zip(ADDED, ("string", "string", "string", "timestamp", "int64", "json", "bool"), strict=True))
_DEBEZIUM_LIKE = {"op": "string", "table": "string", "lsn": "string", "commit_ts": "timestamp", "xid": "int64"}
_DEBEZIUM_LIKE |= {"key": "json", "before": "json", "after": "json", "unchanged": "json"}


class PostgresCdcConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tables to follow, and by which slot and publication.

    A deleted row has its key alone, or with REPLICA IDENTITY FULL all columns; a row whose key was changed is a
    deleted and a created one. Large values that an update did not touch (TOAST) are not sent by the server: they
    are left out and named in `_unchanged` (`unchanged`), but with REPLICA IDENTITY FULL, where they are known.
    Values are written without loss: numeric as text with all digits, bytea in base64, JSON as it is, arrays as
    lists, times in ISO 8601; NaN, Infinity and infinity as such strings; other types as PostgreSQL's text.

    Snapshot and stream leave no gap: the slot is made first, and the snapshot sees all that the stream leaves out.
    A snapshot that was interrupted goes on by key with the rows of now: changes of these come again in the stream,
    whose last one is what the row is. `_commit_time` of an `r` row is no later than that of any change it does not
    show, so "newer wins" by it is right. An event's id is the transaction's LSN and the event's number in it; an
    `r` row's is the slot's LSN, the table and the key.
    """

    url: Annotated[
        str,
        SECRET_IN_URL,
        Meta(
            description="`postgresql://replicator:${env:CLEARWELL_SECRET_DB}@host:5432/database`; the user needs "
            "REPLICATION and SELECT."
        ),
    ]
    tables: Annotated[
        Tables,
        Meta(
            description="`schema.table`, or `table` in `public`; each needs a primary key or a replica identity "
            "index. A partitioned table is all its partitions; tables that inherit from one are tables "
            "of their own."
        ),
    ]
    slot: Annotated[
        Name,
        Meta(
            description="the replication slot, this connector's alone: letters, digits, underscores. It keeps the "
            "server's log until our events are durable; a connector that is paused for long therefore "
            "fills the server's disk."
        ),
    ]
    publication: Annotated[Name, Meta(description="what the slot publishes.")]
    create: Annotated[
        bool,
        Meta(
            description="make slot and publication at the first read where they are missing (the user must own the "
            "tables for that); removing or resetting the connector drops the slot, and the publication "
            "if it was made here."
        ),
    ] = True
    snapshot: Annotated[
        bool, Meta(description="begin with the rows that are there; else only changes from then on are read.")
    ] = True
    envelope: Annotated[
        Literal["row", "debezium-like"],
        Meta(
            description='"row", the new row as a flat object and beside its columns `_op` (c created, u updated, d '
            "deleted, r read by the snapshot, t table truncated), `_table`, `_lsn`, `_commit_time`, "
            '`_xid`, for deleted rows `_deleted`; or "debezium-like": op, table, lsn, commit_ts, xid, '
            "key, before, after."
        ),
    ] = "row"
    time_zone: Annotated[str, Meta(description="what times without a zone are in.")] = "UTC"
    batch_events: BatchEvents = 5_000

    def __repr__(self) -> str:  # invariant 10
        return f"PostgresCdcConfig(tables={self.tables!r}, slot={self.slot!r}, publication={self.publication!r})"


class PostgresCdcSource:
    """Follows tables; the slot moves on once events are durable."""

    name: ClassVar[str] = "postgres_cdc"
    Config: ClassVar[type[SourceConfig]] = PostgresCdcConfig
    Position: ClassVar[type[SourcePosition]] = PostgresCdcPosition

    def __init__(self, config: PostgresCdcConfig) -> None:
        """Does no I/O yet."""
        self._config = config
        self._server = ReplicationServer(config.url)
        self._plan = ReplicationReadPlan(
            tuple(dict.fromkeys(map(qualified, config.tables))),
            config.slot,
            config.publication,
            config.create,
            config.snapshot,
            ENVELOPES[config.envelope],
            frozenset(ADDED if config.envelope == "row" else ()),
            zone_of(config.time_zone),
            config.batch_events,
        )
        self._reader = ReplicationReader(self._server, self._plan)
        self._thread: ReaderThread[CountedBatch] | None = None
        self._closed = False
        self._items = 0

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The columns of the keys, which the ids of a snapshot's rows hold; the database is asked for them."""
        if not self._config.snapshot:
            return ()
        with self._server.session("look at the tables") as connection:
            infos = [find_table(connection, name) for name in self._plan.tables]
        return tuple(dict.fromkeys(name for info in infos for name in info.key))

    def check(self) -> None:
        """Prove that the tables can be read and followed. Makes nothing: that is left to the first read."""
        config, server = self._config, self._server.place
        self._server.connect(replication=True).close()
        with self._server.session("look at the tables") as connection:
            require_logical(connection, server)
            slot = find_slot(connection, config.slot, server)
            for info in find_tables(connection, config.publication, self._plan.tables, config.create and slot is None):
                if config.envelope == "row" and (taken := set(info.columns) & set(ADDED)):
                    raise ConfigError(
                        f"{info.name} has a column named {min(taken)}, as the envelope `row` names a field of its own: "
                        "use `envelope: debezium-like`."
                    )
            if slot is None:
                if not config.create:
                    raise ConfigError(f"There is no replication slot {config.slot}: create it, or set `create: true`.")
                require_room(connection, server)

    def warnings(self) -> list[str]:
        """What of the tables does not come."""
        config, warnings = self._config, []
        with self._server.session("look at the tables") as connection:
            for info in find_tables(connection, config.publication, self._plan.tables, config.create):
                others = [
                    child for child in children(connection, info.name) if qualified(child) not in self._plan.tables
                ]
                if others:
                    warnings.append(
                        f"The rows of {', '.join(others)}, which inherit from {info.name}, are not among its rows: add "
                        "them to `tables` where they are wanted."
                    )
                if info.left_out:
                    warnings.append(f"Of {info.name} these columns are not sent: {', '.join(info.left_out)}.")
        return warnings

    def discover(self) -> list[DiscoveredStream]:
        """A stream for each table, with the first rows of it."""
        plan = self._plan
        streams = []
        with self._server.session("look at the tables") as connection:
            infos = find_tables(connection, self._config.publication, plan.tables, True)
            types = learned(connection, infos, plan.zone)
        with snapshot(self._server, "0/0", None, plan.write, plan.taken) as seen:
            for info in infos:
                rows = json_objects(seen.page(info, types, [], SAMPLE)[0])
                columns = {name: types.contract_type(kind) for name, kind in zip(info.columns, info.kinds, strict=True)}
                fields = columns | _ADDED_TYPES if self._config.envelope == "row" else _DEBEZIUM_LIKE
                streams.append(DiscoveredStream(info.name.partition(".")[2], fields, rows))
        return streams

    async def read(self, after: PostgresCdcPosition | None) -> AsyncIterator[Batch]:
        """The snapshot, then changes, for ever. Raises ConfigError when the slot has lost what follows `after`."""
        if self._closed:
            return
        work = functools.partial(self._reader.run, after=after)
        thread = self._thread = ReaderThread[CountedBatch](work, f"postgres_cdc {self._config.slot}")
        async with thread:
            while (taken := await thread.take()) is not None:
                batch, items = taken
                self._items += items
                yield batch

    async def acknowledged(self, position: PostgresCdcPosition) -> None:
        """The server may forget what is before the position: it is told soon (invariant 1: not earlier)."""
        self._reader.flushed = lsn_number(position.lsn)

    def dispose(self) -> None:
        """Drop the slot, and the publication if the first read made it."""
        drop(self._server, self._config.slot, self._config.publication)

    def count(self) -> Count:
        """Rows of the snapshot, and changes that the server sent."""
        return Count(self._items)

    def between(self, old: PostgresCdcPosition | None, new: PostgresCdcPosition | None) -> str:
        """In places of the server's log."""
        if new is None:
            return "All rows of the tables would be read again, then what the slot still has."
        if old is None or new.snapshot is not None:
            return f"Reading would go on at {new.lsn}; rows that the snapshot has not read before it are left out."
        verb = "read again, if the slot still has them" if lsn_number(new.lsn) < lsn_number(old.lsn) else "skipped"
        return f"Changes that committed between {old.lsn} and {new.lsn} would be {verb}."

    async def close(self) -> None:
        """Stop reading; the slot stays."""
        self._closed = True
        if self._thread is not None:
            await self._thread.stop()
