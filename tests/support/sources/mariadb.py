"""A table in a real MariaDB, with many rows of one cursor value."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.mariadb_server import PASSWORD, MariaDb


class MariaDbCase:
    """As `tests.support.sources.sql.SqlCase`; the cursor is a DATETIME(6) shared by seven rows each."""

    kind = "sql"
    finite = True

    def __init__(self, server: MariaDb, name: str) -> None:
        self._server, self._name, self._filled = server, name, 0
        server.run(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        self.run("CREATE TABLE events (id varchar(40) UNIQUE, at datetime(6) NOT NULL, n integer PRIMARY KEY)")
        url = server.url(name)
        self.config: dict[str, Any] = {"url": url, "table": "events", "cursor": "at", "page": 100}
        self.broken = {
            "a wrong password": {"url": url.replace(PASSWORD, "wrong")},
            "no such database": {"url": server.url("nowhere")},
            "nobody listens": {"url": f"mysql://writer:{PASSWORD}@127.0.0.1:1/db"},
            "no such table": {"table": "event"},
            "no such cursor": {"cursor": "att"},
        }

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """In the case's database."""
        return self._server.run(*statements, database=self._name)

    def fill(self, count: int) -> None:
        """Insert the next `count` rows."""
        numbers = range(self._filled, self._filled + count)
        rows = (f"('k{n}', timestampadd(microsecond, {n // 7}, '2026-01-01'), {n})" for n in numbers)
        self.run(f"INSERT INTO events VALUES {', '.join(rows)}")
        self._filled += count

    def number(self, data: bytes) -> int:
        """The row's number."""
        return int(msgspec.json.decode(data)["n"])

    def close(self) -> None:
        """Drop the database."""
        self._server.run(f"DROP DATABASE {self._name}")
