"""A table of any database that SQLAlchemy speaks: read by a cursor column, or once as a snapshot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from sqlalchemy import Column, Connection, Select, Table, and_, func, not_, or_, select

from clearwell.errors import ConfigError
from clearwell.source import (
    HEARTBEAT_SECONDS,
    SECRET_IN_URL,
    Batch,
    Count,
    DiscoveredStream,
    SourceConfig,
    SourceEvent,
    SourcePosition,
)
from connectors.sql.rows import Rows, contract_type, from_position, to_position, zone_of
from connectors.sql.table import Database, find_table, key_of, require_ordered

SAMPLE = 200
COUNT_SECONDS = 20.0
Values = list[int | str]


class SqlConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which table to read, and in which order.

    url: a SQLAlchemy URL, such as `postgresql://reader:${env:READER_PASSWORD}@host/db`, `mysql://…` (extra `mysql`),
    `sqlite:////path`. table: its name, or `schema.table`. columns: those to read; all when left out.
    mode: "incremental" reads the rows in the order of `cursor` and then looks for rows after them; "snapshot" reads the
    table once in the order of its key. cursor: a column that grows whenever a row is written, such as `updated_at` or a
    serial number, and is never null. key: the columns that name a row, when the table has no primary key; a unique
    constraint must cover them. Rows with the same cursor value are told apart by it, so that no page loses one.
    every: seconds after which to look for new rows; left out, reading ends after the last row.
    delay: seconds by which reading stays behind the database's clock, for a cursor that is a time: a transaction that
    commits late with an earlier time is not missed when it takes less. time_zone: what times without a zone are in.
    page: rows read with one query.

    An event is a row as a JSON object: decimals as text with all digits, times in ISO 8601, binary as base64; NaN and
    the infinities, which JSON has not, as the strings "NaN", "Infinity", "-Infinity". An event's id is made of the
    row's key and, with a cursor, the cursor's value: a changed row is a new event. Deleted rows are not seen.
    """

    url: Annotated[str, SECRET_IN_URL]
    table: str
    columns: list[str] = []
    mode: Literal["incremental", "snapshot"] = "incremental"
    cursor: str | None = None
    key: list[str] = []
    every: Annotated[float, msgspec.Meta(gt=0)] | None = None
    delay: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    time_zone: str = "UTC"
    page: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5_000

    def __repr__(self) -> str:  # invariant 10
        return f"SqlConfig(table={self.table!r}, mode={self.mode!r}, cursor={self.cursor!r})"


class SqlPosition(SourcePosition, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The values, in the order of reading (cursor, then key), of the last row read."""

    after: Values


class SqlSource:
    """Reads a table of any SQL database in pages, each after the last row of the one before (keyset paging)."""

    name: ClassVar[str] = "sql"
    Config: ClassVar[type[SourceConfig]] = SqlConfig
    Position: ClassVar[type[SourcePosition]] = SqlPosition

    def __init__(self, config: SqlConfig) -> None:
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
            connection.execute(select(*self._columns(table)).order_by(*order).limit(1)).all()
            self._require_no_null_cursor(connection, table)

    def discover(self) -> list[DiscoveredStream]:
        """One stream, named after the table, with the types of its columns."""
        with self._database.connect() as connection:
            table = self._table(connection)
            columns = self._columns(table)
            rows = self._rows(columns)
            found = connection.execute(select(*columns).limit(SAMPLE)).all()
        sample = tuple(msgspec.json.decode(rows.encode(row)) for row in found)
        return [DiscoveredStream(table.name, {one.name: contract_type(one.type) for one in columns}, sample)]

    async def read(self, after: SqlPosition | None) -> AsyncIterator[Batch]:
        """A page a batch; ends after the last row, unless `every` is set. Raises as `check` does."""
        table = await asyncio.to_thread(self._found_table)
        position, spoke = after, time.monotonic()
        while not self._closed.is_set():
            events, last, items = await asyncio.to_thread(self._page, table, position)
            if last is not None:
                position = SqlPosition(after=last)
                self._rows_read += items
                yield events, position
                spoke = time.monotonic()
            elif self._config.every is None:
                self._held = await asyncio.to_thread(self._count_rows, table, position)
                return
            else:
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
        where = f"{self._config.table} in the order of {self._config.cursor or 'its key'}"
        if new is None:
            return f"All rows of {where} would be read again."
        start = "the first row" if old is None else f"the row after {old.after}"
        return f"Reading {where} would go on after {new.after}, not at {start}: rows between are read again or skipped."

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
        chosen = [self._database.column(table, name) for name in self._config.columns] or list(table.columns)
        return chosen + [column for column in order if column not in chosen]

    def _order(self, table: Table) -> list[Column[Any]]:
        """Cursor, then key."""
        key = key_of(table, [self._database.column(table, name) for name in self._config.key])
        cursor = [] if self._config.cursor is None else [self._database.column(table, self._config.cursor)]
        order = cursor + [column for column in key if column not in cursor]
        for column in order:
            require_ordered(column)
        return order

    def _count_rows(self, table: Table, after: SqlPosition | None) -> int | None:
        """The rows up to the position, counted by the database: those behind it that were never read are told of.

        None when the database takes too long, or is not there any more: it is a check, reading has gone well.
        """
        query = select(func.count()).select_from(table)
        if after is not None:
            order = self._order(table)
            query = query.where(not_(_follows(order, from_position(order, after.after))))
        return self._database.count(query, COUNT_SECONDS)

    def _page(self, table: Table, after: SqlPosition | None) -> tuple[list[SourceEvent], Values | None, int]:
        """The events of the next page, the place of its last row, None when there is none, and the number of rows."""
        order, columns = self._order(table), self._columns(table)
        with self._database.connect() as connection:
            found = connection.execute(self._query(connection, order, columns, after)).all()
        if not found:
            return [], None, 0
        places = [columns.index(column) for column in order]
        rows = self._rows(columns)
        events = [SourceEvent(_id(to_position([row[place] for place in places])), rows.encode(row)) for row in found]
        last = to_position([found[-1][place] for place in places])
        if after is not None and last == after.after:
            raise ConfigError(
                f"Reading {self._config.table} can't get past one row: its cursor or key is finer than this driver "
                "shows it. Choose another cursor, or a view that rounds it."
            )
        return events, last, len(found)

    def _query(
        self,
        connection: Connection,
        order: Sequence[Column[Any]],
        columns: Sequence[Column[Any]],
        after: SqlPosition | None,
    ) -> Select[Any]:
        query = select(*columns).order_by(*order).limit(self._config.page)
        if after is not None:
            query = query.where(_follows(order, from_position(order, after.after)))
        if self._config.delay:
            now = self._database.now(connection, order[0], zone_of(self._config.time_zone))
            query = query.where(order[0] <= now - timedelta(seconds=self._config.delay))
        return query

    def _rows(self, columns: Sequence[Column[Any]]) -> Rows:
        return Rows(columns, zone_of(self._config.time_zone))

    def _require_no_null_cursor(self, connection: Connection, table: Table) -> None:
        order = self._order(table)
        if (
            order[0].nullable
            and connection.execute(
                select(func.count()).select_from(select(order[0]).where(order[0].is_(None)).limit(1).subquery())
            ).scalar_one()
        ):
            raise ConfigError(
                f"Some rows of {table.name} have no value in {order[0].name}: they would never be read. "
                "Choose another `cursor`, or read a view without them."
            )


def _follows(order: Sequence[Column[Any]], values: Sequence[Any]) -> Any:
    """The rows after `values` in `order`: (a > x) or (a = x and b > y) …, which every database understands."""
    return or_(
        *(
            and_(*(order[i] == values[i] for i in range(depth)), order[depth] > values[depth])
            for depth in range(len(order))
        )
    )


def _id(place: Values) -> str:
    """A single value as it is; several as JSON, so that no two places give one id."""
    return str(place[0]) if len(place) == 1 else msgspec.json.encode(place).decode()
