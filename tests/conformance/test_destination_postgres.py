"""The destination postgres keeps every obligation of a destination."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from clearwell.contract.model import CleanSchema, Field, Type
from clearwell.destinations.postgres import table
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.protocol import Destination
from clearwell.errors import ConfigError
from clearwell.settings import Settings
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_cases import Opener, fresh
from clearwell.testing.destination_events import SIMPLE, START, CleanEvent, Row


class PostgresCase:
    """A table of its own."""

    secrets: Sequence[str] = ("swordfish",)
    poisons: Mapping[str, Callable[[Row], Row]] = {
        "an integer out of range": lambda row: (row[0], row[1], 2**31, row[3]),
        "an integer out of every range": lambda row: (row[0], row[1], 2**70, row[3]),
        "a NUL in a text": lambda row: (row[0], row[1], row[2], "cw1.\0"),
        "another type": lambda row: (row[0], row[1], "many", row[3]),
    }

    def __init__(self, dsn: str, name: str) -> None:
        self.dsn, self.table = dsn, name

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

    def test_types_are_widened_where_nothing_is_lost(self, case: PostgresCase, opened: Opener) -> None:
        """Every row stays as it is, and deliverers of the older version go on beside the new one."""
        events = [CleanEvent(f"k{i}", START, 2**31 - 1 - i, raw_offset=i) for i in range(4)]
        self.deliver(opened(), events[:2])
        wide = replace(SIMPLE, fields=(*SIMPLE.fields[:2], Field("number", Type.INT64), *SIMPLE.fields[3:]))
        self.deliver(opened(schema=wide, group=fresh("v2")), [replace(events[3], number=2**62)])
        older = opened(group=fresh("v1 again"))
        self.deliver(older, events[:3])
        numbers = {row["id"]: row["number"] for row in case.rows()}
        assert numbers == {"k0": 2**31 - 1, "k1": 2**31 - 2, "k2": 2**31 - 3, "k3": 2**62}
        exact = Field("number", Type.DECIMAL, precision=22, scale=3)
        opened(schema=replace(SIMPLE, fields=(*SIMPLE.fields[:2], exact, *SIMPLE.fields[3:])), group=fresh("v3"))
        assert {row["id"]: row["number"] for row in case.rows()} == numbers
        with pytest.raises(
            ConfigError, match=r"is numeric.22,3. but the contract .* makes it text: a changed type needs"
        ):
            opened(
                schema=replace(SIMPLE, fields=(*SIMPLE.fields[:2], Field("number", Type.STRING), *SIMPLE.fields[3:]))
            )

    def test_what_can_not_be_widened_says_what_to_run(
        self, case: PostgresCase, opened: Opener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A view in the way, a large table."""
        self.deliver(opened(), [CleanEvent("a", START, 1, raw_offset=1)])
        wide = replace(SIMPLE, fields=(*SIMPLE.fields[:2], Field("number", Type.INT64), *SIMPLE.fields[3:]))
        names = {"view": Identifier(f"{case.table}_view"), "table": Identifier(case.table)}
        with psycopg.connect(case.dsn) as session:
            session.execute(SQL("CREATE VIEW {view} AS SELECT number FROM {table}").format(**names))
        run = f'run `ALTER TABLE "{case.table}" ALTER COLUMN "number" TYPE bigint`'
        with pytest.raises(ConfigError, match=re.escape(run)):
            opened(schema=wide)
        with psycopg.connect(case.dsn) as session:
            session.execute(SQL("DROP VIEW {view}").format(**names))
        monkeypatch.setattr(table, "MOST_WIDENED", -2)  # less than a table that was never counted
        with pytest.raises(ConfigError, match="too large"):
            opened(schema=wide)
