"""The destination postgres keeps every obligation of a destination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from clearwell.contract.model import CleanSchema
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.protocol import Destination
from clearwell.settings import Settings
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_events import SIMPLE, Row


class PostgresCase:
    """A table of its own."""

    secrets: Sequence[str] = ("swordfish",)
    poisons: Mapping[str, Callable[[Row], Row]] = {
        "an integer out of range": lambda row: (row[0], row[1], 2**31, row[3]),
        "an integer out of every range": lambda row: (row[0], row[1], 2**70, row[3]),
        "a NUL in a text": lambda row: (row[0], row[1], row[2], "cw1.\0"),
        "another type": lambda row: (row[0], row[1], "many", row[3]),
    }

    def __init__(self, dsn: str, table: str) -> None:
        self.dsn, self.table = dsn, table

    def destination(self, schema: CleanSchema, group: str) -> Destination:
        """Into the table."""
        return PostgresDestination(self.dsn, schema, self.table, group)

    def rows(self) -> Sequence[dict[str, Any]]:
        """The table's, without the time of writing."""
        with psycopg.connect(self.dsn, row_factory=dict_row, options="-c timezone=UTC") as session:
            found = session.execute(SQL("SELECT * FROM {} ORDER BY 1").format(Identifier(self.table))).fetchall()
        return [{name: value for name, value in row.items() if name != "_delivered_at"} for row in found]

    def broken(self) -> Mapping[str, Callable[[], Destination]]:
        """What a person gets wrong."""
        return {
            "a wrong password": lambda: self._at(user="nobody", password="swordfish"),
            "nobody answers": lambda: self._at(host="127.0.0.1", port="1", password="swordfish"),
            "no such database": lambda: self._at(dbname="nowhere"),
            "a table of somebody else": lambda: PostgresDestination(self.dsn, SIMPLE, "pg_class", "group"),
        }

    def _at(self, **other: str) -> Destination:
        return PostgresDestination(make_conninfo(self.dsn, **other), SIMPLE, self.table, "group")


class TestPostgres(DestinationSuite):
    """On a real server."""

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> PostgresCase:
        """A table of its own."""
        return PostgresCase(stack.postgres, unique("events"))
