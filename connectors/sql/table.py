"""The database behind the `sql` source: connections and what their failures mean, tables, keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Enum,
    MetaData,
    Select,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    func,
    inspect,
    select,
    type_coerce,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, NoSuchModuleError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import NullType, TypeEngine

from clearwell.errors import ClearwellError, ConfigError, Retryable, nearest
from clearwell.file_roots import require_readable
from clearwell.sql_connection import guard
from connectors.sql import postgres, sqlite
from connectors.sql.rows import has_order, is_instant, lossless

_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_DRIVERS |= {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}
_MYSQL = ("mysql", "mariadb")
_LIMITS = {
    "postgresql": "SET statement_timeout = {milliseconds}",
    "mysql": "SET max_execution_time = {milliseconds}",
    "mariadb": "SET max_statement_time = {seconds}",
}
_DENIED_STATES = ("28", "3D", "42")
_DENIED_NUMBERS = (1044, 1045, 1049, 1142, 1143, 1698)  # MySQL: access denied, unknown database, no such right
_DENIED_TEXTS = ("authentication failed", "password supplied", "does not exist", "pg_hba.conf", "permission denied")


class Database:
    """Connects when it is asked to. Thread-safe; holds no connection between two calls."""

    def __init__(self, url: str) -> None:
        """Does no I/O. Raises ConfigError when `url` is none or its driver is not installed."""
        try:
            parsed = make_url(url)
            self._url = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
            self._engine = create_engine(
                self._url, poolclass=NullPool, isolation_level=_isolation(self._url), json_deserializer=_as_written
            )
            guard(self._engine)
            self.backend = self._url.get_backend_name()
            event.listen(self._engine, "connect", self._set_up)
        except ArgumentError:
            raise ConfigError("`url` is no SQLAlchemy URL: write dialect://user:password@host/database.") from None
        except (NoSuchModuleError, ModuleNotFoundError) as error:
            missing = getattr(error, "name", None) or make_url(url).drivername
            raise ConfigError(f"`url` needs a driver that is not installed ({missing}): install it with pip.") from None
        self._forgives = False
        if self.backend == "sqlite" and not (self._url.database or "").startswith("/"):
            raise ConfigError(
                "`url` needs the whole path of an SQLite file, with four slashes: sqlite:////data/shop.db."
            )
        self._place = self._url.host or self.backend

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection. Raises Retryable when the server does not answer, ConfigError when it refuses."""
        if self.backend == "sqlite":
            require_readable(Path(self._url.database or ""))
        try:
            with self._engine.connect() as connection:
                yield connection
        except ClearwellError:
            raise
        except SQLAlchemyError as error:
            raise self._meaning(error) from None

    @property
    def stores_anything(self) -> bool:
        """Whether a column may hold values of any type, so that they are read and compared as they are stored."""
        return self.backend == "sqlite"

    def rows(self, columns: Sequence[Column[Any]], query: Select[Any]) -> Sequence[Sequence[Any]]:
        """Values of `columns`, of the rows that `query` selects. Raises as `connect`, and ValuesUnreadable."""
        with self.connect() as connection:
            try:
                return connection.execute(query.with_only_columns(*map(self._as_read, columns))).all()
            except (DataError, ValueError, TypeError, LookupError, ArithmeticError):
                if self._forgives or self._engine.driver != "psycopg":
                    raise ValuesUnreadable from None
        self._forgives = True  # its loaders are slower, so only where they are needed
        return self.rows(columns, query)

    def _as_read(self, column: Column[Any]) -> ColumnElement[Any]:
        """A column as it comes from the driver where SQLAlchemy would change, or refuse, values."""
        as_it_is = self.stores_anything or isinstance(column.type, Enum | mysql.SET)
        return type_coerce(column, NullType()) if as_it_is else column

    def close(self) -> None:
        """Let go of everything."""
        self._engine.dispose()

    def _set_up(self, connection: Any, _record: Any) -> None:
        if self.backend in _MYSQL:
            _speak_utc(connection)
        elif self.backend == "sqlite":
            connection.text_factory = sqlite.text
        elif self._forgives:
            postgres.forgive(connection)

    def column(self, table: Table, name: str) -> Column[Any]:
        """A column by name. Raises ConfigError with the nearest name."""
        if name not in table.columns:
            raise ConfigError(f'The table {table.name} has no column "{name}".{nearest(name, table.columns.keys())}')
        return table.columns[name]

    def now(self, connection: Connection, column: Column[Any], zone: tzinfo) -> datetime:
        """The database's clock as `column` would hold it; `zone` is what times without one are in.

        Raises ConfigError when the column holds no times.
        """
        if not isinstance(column.type, DateTime):
            raise ConfigError(f"`delay` needs a cursor that is a time, and {column.name} is none.")
        now: datetime = connection.execute(select(func.current_timestamp(type_=DateTime(timezone=True)))).scalar_one()
        if now.tzinfo is None and self.backend in (*_MYSQL, "sqlite"):  # their clock is at UTC, here
            now = now.replace(tzinfo=UTC)
        if column.type.timezone or now.tzinfo is None:
            return now
        return now.astimezone(UTC if is_instant(column.type) else zone).replace(tzinfo=None)

    def count(self, query: Select[int], seconds: float) -> int | None:
        """The number that `query` selects; None when it takes over `seconds`, or no such limit is known."""
        limit = _LIMITS.get(self.backend)
        try:
            with self.connect() as connection:
                if self.backend == "sqlite":
                    sqlite.limit(connection.connection.driver_connection, seconds)
                elif limit is None:
                    return None
                else:
                    connection.exec_driver_sql(limit.format(milliseconds=int(seconds * 1000), seconds=seconds))
                return connection.execute(query).scalar_one()
        except ClearwellError:
            return None

    def _meaning(self, error: SQLAlchemyError) -> ClearwellError:
        original = error.orig if isinstance(error, DBAPIError) else None
        state = str(getattr(original, "sqlstate", None) or "")
        number = original.args[0] if original is not None and original.args else None
        refused = number in _DENIED_NUMBERS or any(text in str(original) for text in _DENIED_TEXTS)
        if state[:2] in _DENIED_STATES or refused:
            return ConfigError(f"The database at {self._place} refused us: check user, password, database and rights.")
        kind = type(original or error).__name__
        return Retryable(
            f"The database at {self._place} did not answer ({state or kind}): is it running and reachable?"
        )


class ValuesUnreadable(Exception):
    """Among the rows is a value that the driver can't take."""


def _speak_utc(connection: Any) -> None:
    """MySQL shows and takes its TIMESTAMPs in the session's zone, and as it is set up that may be any.

    A zero date, which it may hold, must be allowed to be compared with.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(
            "SET SESSION sql_mode = REPLACE(REPLACE(REPLACE(@@SESSION.sql_mode, 'NO_ZERO_IN_DATE', ''), "
            "'NO_ZERO_DATE', ''), 'TRADITIONAL', '')"
        )


def _as_written(document: str | bytes) -> Any:
    """A JSON document is passed on as it is: to read it would lose digits."""
    return msgspec.Raw(document.encode() if isinstance(document, str) else bytes(document))


def _isolation(url: URL) -> Any:
    """Each query sees what is committed when it begins; SQLite knows no such level by that name."""
    return "AUTOCOMMIT" if url.get_backend_name() != "sqlite" else "SERIALIZABLE"


def find_table(connection: Connection, name: str) -> Table:
    """The table or view `name`, or `schema.name`. Raises ConfigError with the nearest name."""
    schema, _, bare = name.rpartition(".")
    inspector = inspect(connection)
    views = inspector.get_view_names(schema or None)
    try:
        info = {"view": bare in views}
        table = Table(bare, MetaData(), autoload_with=connection, schema=schema or None, resolve_fks=False, info=info)
    except NoSuchTableError:
        hint = nearest(bare, inspector.get_table_names(schema or None) + views) or " Does this user see it?"
        raise ConfigError(f'There is no table "{name}" in the database.{hint}') from None
    for column in table.columns:
        column.type = lossless(column.type)
    return table


def key_of(table: Table, named: Sequence[Column[Any]]) -> list[Column[Any]]:
    """The columns that tell rows apart: those `named`, or the primary key. Raises ConfigError when none do.

    Of a view the database knows no constraints: its key is what the user says.
    """
    if not named:
        if not table.primary_key.columns:
            raise ConfigError(
                f"The table {table.name} has no primary key: name columns that are unique together in `key`."
            )
        return list(table.primary_key.columns)
    if table.info["view"]:
        return list(named)
    names = {column.name for column in named}
    unique = [{column.name for column in index.columns} for index in table.indexes if index.unique]
    unique += [{column.name for column in constraint.columns} for constraint in _unique_constraints(table)]
    if not any(names_of_key and names_of_key <= names for names_of_key in unique):
        raise ConfigError(f"`key` ({', '.join(sorted(names))}) is not unique in {table.name}: add a unique constraint.")
    if nullable := [column.name for column in named if column.nullable]:
        raise ConfigError(f"`key` holds {', '.join(nullable)}, which may be null: choose columns that are NOT NULL.")
    return list(named)


def _unique_constraints(table: Table) -> Iterator[Any]:
    yield table.primary_key
    yield from (constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint))


def require_ordered(column: Column[Any]) -> None:
    """Raises ConfigError when pages can't go by a column: floats are not exact, documents have no order."""
    kind: TypeEngine[Any] = column.type
    if not has_order(kind):
        raise ConfigError(
            f"Rows can't be read in the order of {column.name}, which is {kind!s}: choose integers, decimals, text, "
            "times or UUIDs."
        )
