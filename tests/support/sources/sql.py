"""A table in the embedded Postgres, with many rows of one cursor value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from clearwell.settings import Settings


class SqlCase:
    """The cursor is a time shared by seven rows each."""

    kind = "sql"
    finite = True

    def __init__(self, dsn: str, table: str) -> None:
        self.table = table
        self.config: dict[str, Any] = {"url": dsn, "table": table, "cursor": "at", "page": 100}
        self.broken = {
            "a wrong password": {"url": "postgresql://nobody:wrong@" + dsn.rpartition("@")[2]},
            "nobody listens": {"url": "postgresql://postgres@127.0.0.1:1/db"},
            "no such table": {"table": table + "s"},
            "no such cursor": {"cursor": "att"},
            "no such time zone": {"time_zone": "Mars/Base"},
        }
        self._filled = 0
        self._session = psycopg.connect(dsn, autocommit=True)
        self._run("CREATE TABLE {} (id text UNIQUE, at timestamptz NOT NULL, n integer PRIMARY KEY)")

    def fill(self, count: int) -> None:
        """Insert the next `count` rows."""
        self._run(
            "INSERT INTO {} SELECT 'k' || n, timestamptz '2026-01-01T00:00:00Z' + n / 7 * interval '1 us', n"
            f" FROM generate_series({self._filled}, {self._filled + count - 1}) n"
        )
        self._filled += count

    def number(self, data: bytes) -> int:
        """The row's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """Drop the table."""
        self._run("DROP TABLE IF EXISTS {}")
        self._session.close()

    def _run(self, statement: str) -> None:
        self._session.execute(SQL(statement).format(Identifier(self.table)))


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> SqlCase:
    """A table of its own."""
    return SqlCase(settings.postgres, unique("rows"))
