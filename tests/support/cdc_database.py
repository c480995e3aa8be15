"""A table of the embedded Postgres that is followed by `postgres_cdc`."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg

from clearwell.source import Batch
from clearwell.testing import reading
from connectors.postgres_cdc.read import PostgresCdcPosition
from connectors.postgres_cdc.source import PostgresCdcConfig, PostgresCdcSource


class Database:
    """A table name, which is also the slot's and the publication's, and a session."""

    def __init__(self, dsn: str, name: str) -> None:
        self.dsn, self.name = dsn, name
        self.session = psycopg.connect(dsn, autocommit=True)
        self.tables = [name]

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """A statement in which TABLE is the table's name."""
        found = self.session.execute(statement.replace("TABLE_", self.name))
        return found.fetchall() if found.description else []

    def source(self, **options: Any) -> PostgresCdcSource:
        """A source of the table."""
        given = {"url": self.dsn, "tables": self.tables, "slot": self.name, "publication": self.name}
        return PostgresCdcSource(msgspec.convert(given | options, PostgresCdcConfig))

    def begin(self, **options: Any) -> Any:
        """Make slot and publication; the position from which all later changes come."""
        batches = reading.run(reading.take(self.source(**options), None, lambda found: bool(settled(found))))
        return settled(batches)

    def changes(self, after: Any, count: int, **options: Any) -> list[dict[str, Any]]:
        """The next `count` events, decoded."""
        source = self.source(**options)
        enough = lambda found: len(reading.events_of(found)) >= count  # noqa: E731
        batches = reading.run(reading.take(source, after, enough))
        return [msgspec.json.decode(event.data) for event in reading.events_of(batches)]

    def confirmed(self) -> str:
        """How far the slot was confirmed."""
        found = self.run("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'TABLE_'")
        return str(found[0][0])

    def close(self) -> None:
        """Drop everything."""
        self.source().dispose()
        self.run("DROP PUBLICATION IF EXISTS TABLE_")
        self.run("DROP TABLE IF EXISTS TABLE_ CASCADE")
        self.session.close()


def settled(batches: list[Batch]) -> Any:
    """The position once the snapshot is over; None before."""
    position = batches[-1][1]
    assert isinstance(position, PostgresCdcPosition)
    return None if position.snapshot is not None else position
