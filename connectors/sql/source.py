"""A table of any database that SQLAlchemy speaks: read by a cursor column, or once as a snapshot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Column, Connection, Table, func, select

from clearwell.errors import ConfigError
from clearwell.source import (
    HEARTBEAT_SECONDS,
    SECRET_IN_URL,
    Batch,
    Count,
    DiscoveredStream,
    SourceConfig,
    SourcePosition,
)
from connectors.reader_thread import Every
from connectors.sql.fence import can_tell
from connectors.sql.position import SqlPosition, SqlReadPlan
from connectors.sql.read import ASIDE_MOST, TableReader
from connectors.sql.rows import contract_type, may_be_null, zone_of
from connectors.sql.table import Database, find_table, key_of, require_ordered

SAMPLE = 200
COUNT_EVERY = 3600.0
FENCE_SECONDS = 0.1


class SqlSourceConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which table to read, and in which order.

    An event is a row as a JSON object: decimals as text with all digits, times in ISO 8601, binary as base64; NaN
    and the infinities, which JSON has not, as the strings "NaN", "Infinity", "-Infinity". An event's id is made of
    the row's key and, with a cursor, the cursor's value: a changed row is a new event. Deleted rows are not seen.

    A primary PostgreSQL server tells which transactions are under way: reading stays behind those that write (by a
    time also, for 30 s, behind those that have not written yet), so that none is missed however late it commits.
    Rows whose cursor is null, infinite or after the year 9000 have no place in the order: they are read beside it.
    A value that JSON or the database's driver has no word for makes its row a dead letter. SQLite's values are read
    and compared as they are stored, whatever the column's type says.
    """

    url: Annotated[
        str,
        SECRET_IN_URL,
        Meta(
            description="a SQLAlchemy URL, such as `postgresql://reader:${env:CLEARWELL_SECRET_READER}@host/db`, "
            "`mysql://…` (extra `mysql`), `sqlite:////path`."
        ),
    ]
    table: Annotated[str, Meta(description="its name, or `schema.table`.")]
    columns: Annotated[list[str], Meta(description="those to read; all when left out.")] = []
    mode: Annotated[
        Literal["incremental", "snapshot"],
        Meta(
            description='"incremental" reads the rows in the order of `cursor` and then looks for rows after them; '
            '"snapshot" reads the table once in the order of its key.'
        ),
    ] = "incremental"
    cursor: Annotated[
        str | None,
        Meta(description="a column that grows whenever a row is written, such as `updated_at` or a serial number."),
    ] = None
    key: Annotated[
        list[str],
        Meta(
            description="the columns that name a row, when the table has no primary key; a unique constraint must "
            "cover them. Rows with the same cursor value are told apart by it, so that no page loses "
            "one."
        ),
    ] = []
    every: (
        Annotated[
            float,
            Meta(
                gt=0, description="seconds after which to look for new rows; left out, reading ends after the last row."
            ),
        ]
        | None
    ) = None
    delay: Annotated[
        float,
        Meta(
            ge=0, description="seconds by which reading stays behind the database's clock, for a cursor that is a time."
        ),
    ] = 0.0
    lookback: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="so many rows before the last one are looked at again each time, so that a transaction that "
            "commits late with an earlier cursor, or a change that the cursor is too coarse to show, is "
            "not missed; what was read of them does not come again.",
        ),
    ] = 500
    time_zone: Annotated[str, Meta(description="what times without a zone are in.")] = "UTC"
    page: Annotated[int, Meta(ge=1, le=100_000, description="rows read with one query.")] = 5_000

    def __repr__(self) -> str:  # invariant 10
        return f"SqlConfig(table={self.table!r}, mode={self.mode!r}, cursor={self.cursor!r})"


class SqlSource:
    """Reads a table of any SQL database in pages, each after the last row of the one before (keyset paging)."""

    name: ClassVar[str] = "sql"
    Config: ClassVar[type[SourceConfig]] = SqlSourceConfig
    Position: ClassVar[type[SourcePosition]] = SqlPosition

    def __init__(self, config: SqlSourceConfig) -> None:
        """Does no I/O yet. Raises ConfigError when the options contradict each other."""
        if (config.mode == "incremental") != (config.cursor is not None):
            raise ConfigError('Mode "incremental" needs a `cursor` column, and "snapshot" has none.')
        if config.mode == "snapshot" and (config.every is not None or config.delay):
            raise ConfigError('Mode "snapshot" reads the table once: leave `every` and `delay` out.')
        self._config = config
        self._database = Database(config.url)
        self._closed = asyncio.Event()
        self._rows_read = 0
        self._held: int | None = None

    @property
    def id_fields(self) -> tuple[str, ...]:
        """Cursor and key; the key alone is what the database says, so it is asked. Raises as `check` does."""
        with self._database.connect() as connection:
            return tuple(column.name for column in self._order(self._table(connection)))

    def check(self) -> None:
        """Prove that the table is there, has a usable key and cursor, and can be read."""
        zone_of(self._config.time_zone)
        with self._database.connect() as connection:
            table = self._table(connection)
            order = self._order(table)
            if self._config.delay:
                self._database.now(connection, order[0], zone_of(self._config.time_zone))
            self._require_no_null_cursor(connection, table)
        self._reader(table).sample(1)

    def warnings(self) -> list[str]:
        """What an order by the cursor can't promise here."""
        if self._config.mode == "snapshot":
            return []
        with self._database.connect() as connection:
            cursor = self._order(self._table(connection))[0]
            told = self._database.backend == "postgresql" and can_tell(connection)
        warnings = []
        if not told and self._database.backend != "sqlite":  # which has one writer at a time
            warnings.append(
                f"This database does not say which transactions may still bring a row with an earlier {cursor.name}: "
                f"only the last {self._config.lookback} rows are looked at again. Set `lookback` to more rows than are "
                "written while the longest transaction lasts."
            )
        if may_be_null(cursor):
            warnings.append(
                f"{cursor.name} may be null: rows without a value are read beside the order, at most {ASIDE_MOST:,}."
            )
        return warnings

    def discover(self) -> list[DiscoveredStream]:
        """One stream, named after the table, with the types of its columns."""
        with self._database.connect() as connection:
            table = self._table(connection)
        rows = self._reader(table).sample(SAMPLE)
        columns = self._columns(table)
        sample = tuple(msgspec.json.decode(row) for row in rows)
        return [DiscoveredStream(table.name, {column.name: contract_type(column.type) for column in columns}, sample)]

    async def read(self, after: SqlPosition | None) -> AsyncIterator[Batch]:
        """A page a batch; ends after the last row, unless `every` is set. Raises as `check` does."""
        reader = self._reader(await asyncio.to_thread(self._found_table))
        reader.begin(after)
        position, spoke, pause = after, time.monotonic(), Every(COUNT_EVERY)
        while not self._closed.is_set():
            pages = reader.look()
            while (page := await asyncio.to_thread(next, pages, None)) is not None and not self._closed.is_set():
                position = page.position
                if page.events:
                    self._rows_read += page.rows
                    yield page.events, position
                    spoke = time.monotonic()
                    continue
                if time.monotonic() - spoke >= HEARTBEAT_SECONDS / 2:
                    yield [], position
                    spoke = time.monotonic()
                await self._wait(FENCE_SECONDS)
            if self._config.every is None or pause.due():
                self._held = await asyncio.to_thread(reader.held)
            if self._config.every is None:
                return
            if time.monotonic() - spoke >= HEARTBEAT_SECONDS / 2:
                yield [], position
                spoke = time.monotonic()
            await self._wait(min(self._config.every, HEARTBEAT_SECONDS / 2))

    async def close(self) -> None:
        """Stop looking for new rows and let go of the connections."""
        self._closed.set()
        await asyncio.to_thread(self._database.close)

    def count(self) -> Count:
        """Rows that came, beside those that the table holds up to the last one of them."""
        return Count(self._rows_read, self._held)

    def between(self, old: SqlPosition | None, new: SqlPosition | None) -> str:
        """In the words of the order of reading."""
        order = f"{self._config.table} in the order of {self._config.cursor or 'its key'}"
        if new is None:
            return f"All rows of {order} would be read again."
        start = "the first row" if old is None or old.after is None else f"the row after {old.after}"
        return f"Reading {order} would go on after {new.after}, not at {start}: rows between are read again or skipped."

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()

    def _found_table(self) -> Table:
        with self._database.connect() as connection:
            return self._table(connection)

    def _table(self, connection: Connection) -> Table:
        table = find_table(connection, self._config.table)
        self._columns(table)
        return table

    def _columns(self, table: Table) -> list[Column[Any]]:
        """Those to read, with key and cursor always among them."""
        order = self._order(table)
        columns = [self._database.column(table, name) for name in self._config.columns] or list(table.columns)
        return columns + [column for column in order if column not in columns]

    def _order(self, table: Table) -> list[Column[Any]]:
        """Cursor, then key."""
        key = key_of(table, [self._database.column(table, name) for name in self._config.key])
        cursor = [] if self._config.cursor is None else [self._database.column(table, self._config.cursor)]
        order = cursor + [column for column in key if column not in cursor]
        for column in order:
            require_ordered(column)
        return order

    def _reader(self, table: Table) -> TableReader:
        config = self._config
        plan = SqlReadPlan(
            config.mode == "incremental", config.page, config.lookback, config.delay, zone_of(config.time_zone)
        )
        return TableReader(self._database, table, self._order(table), self._columns(table), plan)

    def _require_no_null_cursor(self, connection: Connection, table: Table) -> None:
        order = self._order(table)
        if (
            order[0].nullable
            and connection.execute(
                select(func.count()).select_from(select(order[0]).where(order[0].is_(None)).limit(1).subquery())
            ).scalar_one()
        ):
            raise ConfigError(
                f"Some rows of {table.name} have no value in {order[0].name}, by which they are read. Choose another "
                "`cursor`, or read a view without them."
            )
