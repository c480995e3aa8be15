"""A table in the embedded Postgres, followed by logical replication."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from clearwell.settings import Settings
from connectors.postgres_cdc.source import PostgresCdcSource


class PostgresCdcCase:
    """Slot and publication are there before the first row is, so that all rows come as changes, unless `snapshot`."""

    kind = "postgres_cdc"
    finite = False

    def __init__(self, dsn: str, name: str, *, snapshot: bool = False) -> None:
        self.table = name
        self.config: dict[str, Any] = {
            "url": dsn,
            "tables": [name],
            "slot": name,
            "publication": name,
            "snapshot": snapshot,
        }
        wrong = psycopg.conninfo.conninfo_to_dict(dsn)
        place = f"{wrong['host']}:{wrong['port']}"
        self.broken: dict[str, dict[str, Any]] = {
            "a wrong password": {"url": f"postgresql://{wrong['user']}:wrong@{place}/{wrong['dbname']}"},
            "a server that is not there": {"url": "postgresql://someone:secret@127.0.0.1:1/none"},
            "a database that is not there": {"url": dsn.rpartition("/")[0] + "/none"},
            "no URL": {"url": "://"},
            "a table that is not there": {"tables": ["none"]},
            "no such slot": {"slot": "none", "create": False},
        }
        self.session = psycopg.connect(dsn, autocommit=True)
        self.run("CREATE TABLE {} (n integer PRIMARY KEY, id text NOT NULL, at timestamptz NOT NULL)")
        if not snapshot:
            self.run("CREATE PUBLICATION {0} FOR TABLE {0}")
            self.session.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
        self._filled = 0

    def fill(self, count: int) -> None:
        """Insert the next `count` rows in one transaction."""
        first = self._filled
        self.run(
            "INSERT INTO {} SELECT n, 'k' || n, '2026-01-01T00:00:00Z'"
            f" FROM generate_series({first}, {first + count - 1}) n"
        )
        self._filled += count

    def number(self, data: bytes) -> int:
        """The row's number."""
        return int(msgspec.json.decode(data)["n"])

    def run(self, statement: str) -> None:
        """A statement in which `{}` is the table."""
        self.session.execute(SQL(statement).format(Identifier(self.table)))

    def close(self) -> None:
        """Drop slot, publication and table."""
        PostgresCdcSource(msgspec.convert(self.config, PostgresCdcSource.Config)).dispose()
        self.run("DROP PUBLICATION IF EXISTS {}")
        self.run("DROP TABLE IF EXISTS {}")
        self.session.close()


def open_case(settings: Settings, folder: Path, unique: Callable[[str], str]) -> PostgresCdcCase:
    """A table, slot and publication of its own."""
    return PostgresCdcCase(settings.postgres, unique("changes"))
