"""A SQL database by its URL: a connection with the manners we need, and what is special to a dialect."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from clearwell.destinations.protocol import RowReason, RowsRefused
from clearwell.destinations.sql.column_types import MYSQL, from_json, to_json
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.sql_connection import guard

_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433, "oracle": 1521}
_TIMES: Mapping[str, Mapping[str, Any]] = {"pysqlite": {"timeout": 30}}
"""Arguments of drivers for a URL that doesn't set them, in seconds; those of others are `sql_connection`'s."""

_STRICT = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'"
"""MySQL cuts values to fit, and says nothing, unless it is told to be strict."""

_LOCK = "clearwell"
_LOCK_SECONDS = 60


class DestinationDatabase:
    """One database. `place` names it in messages: "The mysql database at host:port", no user, no password."""

    def __init__(self, url: str) -> None:
        """Does no I/O. Raises ConfigError when `url` is none or its driver is not installed."""
        try:
            parsed = make_url(url)
            self._url = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
            self._engine = self._made()
        except (ArgumentError, ValueError):  # ValueError: a port that is no number
            raise ConfigError("`url` is no SQLAlchemy URL: write dialect://user:password@host/database.") from None
        except (NoSuchModuleError, ModuleNotFoundError):
            raise ConfigError(
                "`url` needs a driver that is not installed: for MySQL and MariaDB install Clearwell's extra `mysql`, "
                "for others the driver's own package."
            ) from None
        self.dialect = self._url.get_backend_name()
        if self.dialect == "sqlite" and not (self._url.database or "").startswith("/"):
            raise ConfigError(
                "`url` needs the whole path of an SQLite file, with four slashes: sqlite:////data/shop.db."
            )
        self._port = self._url.port or _PORTS.get(self.dialect, 0)
        at = f" at {self._url.host}:{self._port}" if self._url.host else ""
        self.place = f"The {self.dialect} database{at}"
        self._largest = 0

    def connect(self) -> Connection:
        """A new connection. Raises ConfigError where its address may not be reached, and SQLAlchemyError."""
        connection = self._engine.connect()
        if self.dialect in MYSQL:
            self._largest = int(connection.execute(text("SELECT @@max_allowed_packet")).scalar_one())
            connection.rollback()
        return connection

    @contextlib.contextmanager
    def alone(self, connection: Connection) -> Iterator[None]:
        """One deliverer at a time makes tables, where the database has locks for that."""
        if self.dialect in MYSQL:
            query = text("SELECT GET_LOCK(:name, :seconds)")
            if connection.execute(query, {"name": _LOCK, "seconds": _LOCK_SECONDS}).scalar_one() != 1:
                raise Retryable(f"{self.place} is busy: another deliverer is making tables there.")
        elif self.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": _LOCK})
        yield  # an error ends the connection, and the lock with it
        if self.dialect in MYSQL:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": _LOCK})

    def retryable(self, error: ClearwellError) -> ClearwellError:
        """Of a claim: that a row is there already is only another one who claimed at the same moment."""
        return Retryable(f"{self.place}: somebody else claimed now.") if isinstance(error, RowsRefused) else error

    def require_not_too_large(self, error: SQLAlchemyError, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raises RowsRefused where MySQL hung up because a row is larger than its max_allowed_packet."""
        if not self._largest or not isinstance(error, OperationalError):
            return
        largest = max(sum(_size(value) for value in row.values()) for row in rows)
        if largest * 2 > self._largest:  # escaped, it is up to twice as long
            raise RowsRefused(RowReason.TOO_LARGE, f"{self.place} refuses a row that is longer than it takes.")

    def _made(self) -> Engine:
        driver = self._url.get_driver_name()
        query = self._url.query
        times = {name: value for name, value in _TIMES.get(driver, {}).items() if name not in query}
        engine = create_engine(
            self._url,
            poolclass=NullPool,
            connect_args=times,
            hide_parameters=True,  # invariant 9
            json_serializer=to_json,
            json_deserializer=from_json,
            **_isolation(self._url),
        )
        guard(engine)
        if self._url.get_backend_name() in MYSQL:
            event.listen(engine, "connect", _be_strict)
        if self._url.get_backend_name() == "sqlite":
            event.listen(engine, "connect", _own_transactions)
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine


def _isolation(url: URL) -> dict[str, Any]:
    """No gap locks in MySQL; the usual one elsewhere: what is compared is locked."""
    return {"isolation_level": "READ COMMITTED"} if url.get_backend_name() in MYSQL else {}


def _be_strict(connection: Any, _record: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(_STRICT)
        cursor.execute("SET NAMES utf8mb4")


def _own_transactions(connection: Any, _record: Any) -> None:
    """The driver's own begin comes late: after what is read, and not before tables are made."""
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous = FULL")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 32
