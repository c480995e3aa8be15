"""Any database that SQLAlchemy speaks: the dialect's guarded upsert and the position, in one transaction.

Tested on MariaDB and SQLite, in every part. PostgreSQL goes this way too, but `postgres` is faster. Any other dialect
takes the way of `sql_upsert` that needs no special statement, which is tested on the two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from msgspec import Meta
from sqlalchemy import Connection, func, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.newest import key_of, newest_rows
from clearwell.destinations.protocol import (
    Accounts,
    Claim,
    CleanBatch,
    DestinationConfig,
    DestinationContext,
    RowReason,
    RowsRefused,
    Start,
)
from clearwell.destinations.shape import (
    NAME_RULE,
    RAW_OFFSET,
    RAW_PARTITION,
    RAW_TOPIC,
    check_schema,
    is_name,
    must_not_be_null,
)
from clearwell.destinations.sql.errors import null_column, translate
from clearwell.destinations.sql.options import SqlOptions
from clearwell.destinations.sql.positions import TABLE, SqlPositions
from clearwell.destinations.sql.server import DestinationDatabase
from clearwell.destinations.sql.table import DELIVERED_AT, TAKEN, prepare, table_of
from clearwell.destinations.sql.upsert import upsert_of
from clearwell.errors import ClearwellError, ConfigError
from clearwell.source import SECRET_IN_URL


class SqlConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which database. MySQL and MariaDB need Clearwell's extra `mysql`.

    The user needs the rights to create and alter tables, and to read, insert and update. The table
    `clearwell_positions` is kept beside the streams' tables. Texts in a key have 255 characters at most, except in
    SQLite and PostgreSQL. Where a unique index of yours refuses a row, the row becomes a dead letter.
    """

    url: Annotated[
        str,
        SECRET_IN_URL,
        Meta(
            description="a SQLAlchemy URL, such as `mysql://writer:${env:CLEARWELL_SECRET_WRITER}@host/db` or "
            "`sqlite:////path`, its driver's TLS options included; a password must be a reference."
        ),
    ]
    schema: Annotated[
        str | None, Meta(description="the database schema the tables are in; left out, the user's own.")
    ] = None

    def __repr__(self) -> str:  # invariant 10
        return f"SqlConfig(schema={self.schema!r})"


class SqlDestination:
    """One table of one database; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "sql"
    Config: ClassVar[type[DestinationConfig]] = SqlConfig
    Options: ClassVar[type[RouteOptions]] = SqlOptions
    keeps_history: ClassVar[bool] = False
    registered: ClassVar[bool] = True
    redelivers: ClassVar[bool] = False

    def __init__(
        self, config: SqlConfig, schema: CleanSchema, table: str, group: str, upsert: str | None = None
    ) -> None:
        """`upsert` is the dialect whose upsert is taken; None: the database's. Raises ConfigError; does no I/O."""
        if not is_name(table) or table.lower() == TABLE or table.lower().startswith("sqlite_"):
            raise ConfigError(f'"{table}" can\'t be the name of a table: use {NAME_RULE}, and no name of the database.')
        check_schema(schema, TAKEN)
        self._server = DestinationDatabase(config.url)
        self._config, self._schema, self._name, self._group, self._wanted = config, schema, table, group, upsert
        self._columns = [field.name for field in schema.fields]
        self._key = key_of(schema)
        self._session: Connection | None = None

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """A registered database."""
        return cls(context.config, context.schema, context.options.table or context.schema.stream, context.group)

    def open(self) -> None:
        """Create or widen the table, and the table of positions where it is missing."""
        with self._talking(f'make or read the table "{self._name}"') as session, self._server.alone(session):
            prepare(session, self._table, self._schema)
            self._positions.create(session)

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """Waits for a write of the previous owner that is being committed, then goes on from its end."""
        with self._talking(f"claim partition {partition}") as session:
            try:
                return self._positions.claim(session, topic_id, partition, generation)
            except SQLAlchemyError as error:
                told = translate(error, self._server.place, f"claim partition {partition}")
                raise self._server.retryable(told) from None

    def write(self, batch: CleanBatch) -> None:
        """After Retryable the same batch may be written again: the position tells whether it was committed."""
        with self._talking(f"write {batch.coordinates()}") as session:
            # First, so that its lock keeps a zombie out for the whole transaction (invariant 4).
            if self._positions.advance(session, batch) and batch.rows:
                rows = self._rows(batch)
                try:
                    self._upsert(session, rows)
                except SQLAlchemyError as error:
                    self._server.require_not_too_large(error, rows)
                    raise
                except (OverflowError, UnicodeEncodeError):  # of SQLite's driver, whose text quotes the value
                    raise RowsRefused(
                        RowReason.OUT_OF_RANGE, f"{self._server.place} can't hold a value of {batch.coordinates()}."
                    ) from None

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever delivered."""
        with self._talking("read the positions") as session:
            return self._positions.accounts(session, topic_id)

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """In one transaction."""
        with self._talking("set the positions back") as session:
            for start in starts:
                self._positions.rewind(session, topic_id, start)

    def is_there(self) -> bool:
        """Whether the table is."""
        with self._talking(f'look for the table "{self._name}"') as session:
            return inspect(session).has_table(self._name, schema=self._config.schema)

    def row_count(self) -> int:
        """Counts the table's rows; 0 when there is no table yet."""
        with self._talking(f'count the rows of "{self._name}"') as session:
            if not inspect(session).has_table(self._name, schema=self._config.schema):
                return 0
            return int(session.execute(select(func.count()).select_from(self._table)).scalar_one())

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(SQLAlchemyError):
                session.close()

    def _rows(self, batch: CleanBatch) -> list[dict[str, Any]]:
        now = datetime.now(UTC)
        rows = []
        for index in newest_rows(batch, self._schema):
            values = batch.rows[index]
            key = self._key(values)
            if key is None or (len(self._schema.key) > 1 and None in key):
                raise RowsRefused(RowReason.CONSTRAINT, f"A row has no key in {batch.coordinates()}.")
            row = dict(zip(self._columns, values, strict=True))
            row[RAW_TOPIC], row[RAW_PARTITION] = batch.raw_topics[index], batch.partition
            row[RAW_OFFSET], row[DELIVERED_AT] = batch.raw_offsets[index], now
            rows.append(row)
        return rows

    @contextlib.contextmanager
    def _talking(self, doing: str) -> Iterator[Connection]:
        """A transaction on a connection that is alive; errors become ours, and after any one it is given up."""
        try:
            if self._session is None:
                self._session = self._server.connect()
                dialect = self._session.dialect  # knows the server's kind and version only now
                self._table = table_of(self._schema, self._name, self._config.schema, dialect)
                self._positions = SqlPositions(self._group, self._config.schema, dialect)
                self._upsert = upsert_of(self._table, self._schema, self._wanted or dialect.name)
            with self._session.begin():
                yield self._session
        except SQLAlchemyError as error:
            self.close()
            raise self._meaning(error, doing) from None
        except ClearwellError:
            self.close()
            raise

    def _meaning(self, error: SQLAlchemyError, doing: str) -> ClearwellError:
        """A column that others have added refuses every row alike: that is about the table, not about a row."""
        column = null_column(error)
        if column is not None and column not in (*self._columns, *TAKEN):
            return must_not_be_null(column, self._name, self._schema)
        return translate(error, self._server.place, doing)
