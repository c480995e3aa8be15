"""The online store of feature views keeps every obligation of a destination, with plain features of every field."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from clearwell.contract.features import Entity, Feature, FeatureView
from clearwell.contract.model import CleanSchema
from clearwell.destinations.features.ddl import EVENT_TIME, ROWS
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.errors import ConfigError
from clearwell.settings import Settings
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_cases import fresh
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, Row, batch_of

THREE = [CleanEvent(f"k{number}", START, number, number) for number in range(3)]


def view_of_all(schema: CleanSchema, name: str) -> FeatureView:
    """A view that keeps every field: the key as entity, the rest but the event time as plain features."""
    fields = {field.name: field for field in schema.fields}
    unknown = [one for one in (*schema.key, schema.event_time) if one not in fields]
    if unknown:
        raise ConfigError(f'"{unknown[0]}" is not a field of the clean event.')
    keys = tuple(fields[one] for one in schema.key)
    kept = [field for field in schema.fields if field.name not in (*schema.key, schema.event_time)]
    features = tuple(Feature(field.name, field) for field in kept)
    far = timedelta.max
    entity = Entity("one", keys)
    return FeatureView(name, schema.stream, schema.version, schema.event_time, entity, features, None, far, far)


class FeaturesCase:
    """A view of its own."""

    secrets: Sequence[str] = ("swordfish",)
    poisons: Mapping[str, Callable[[Row], Row]] = {
        "an integer out of range": lambda row: (row[0], row[1], 2**31, row[3]),
        "an integer out of every range": lambda row: (row[0], row[1], 2**70, row[3]),
        "a NUL in a text": lambda row: (row[0], row[1], row[2], "cw1.\0"),
        "another type": lambda row: (row[0], row[1], "many", row[3]),
    }

    def __init__(self, settings: Settings, name: str) -> None:
        self.dsn, self.offline = settings.postgres, Folder.root(settings)
        self.name, self.event_time = name, SIMPLE.event_time

    def destination(self, schema: CleanSchema, group: str) -> FeaturesDestination:
        """Of the view."""
        self.event_time = schema.event_time
        return FeaturesDestination(self.dsn, schema, view_of_all(schema, self.name), group, self.offline)

    def rows(self) -> Sequence[dict[str, Any]]:
        """The newest values, without the time of writing."""
        table = Identifier(ROWS, self.name)
        with psycopg.connect(self.dsn, row_factory=dict_row, options="-c timezone=UTC") as session:
            found = session.execute(SQL("SELECT * FROM {} ORDER BY 1").format(table)).fetchall()
        return [
            {self.event_time: row[EVENT_TIME]} | {n: v for n, v in row.items() if n != "_delivered_at"} for row in found
        ]

    def broken(self) -> Mapping[str, Callable[[], FeaturesDestination]]:
        """What a person gets wrong."""
        return {
            "a wrong password": lambda: self._at(user="nobody", password="swordfish"),
            "nobody answers": lambda: self._at(host="127.0.0.1", port="1", password="swordfish"),
        }

    def _at(self, **other: str) -> FeaturesDestination:
        dsn = make_conninfo(self.dsn, **other)
        return FeaturesDestination(dsn, SIMPLE, view_of_all(SIMPLE, self.name), "group", self.offline)


class TestFeatures(DestinationSuite):
    """On a real server."""

    skipped: ClassVar[Mapping[str, str]] = {
        "test_a_key_that_moved_to_another_partition": "events of one time have a total order, online and in history: "
        "by raw offset and partition, whichever came first (decision 0033)"
    }

    @pytest.fixture
    def case(self, stack: Settings, unique: Callable[[str], str]) -> FeaturesCase:
        """A view of its own."""
        return FeaturesCase(stack, unique("view"))

    def test_a_column_that_others_added_is_told_in_one_sentence(self, case: FeaturesCase) -> None:
        """It refuses every row alike: no dead letter for each."""
        with contextlib.closing(case.destination(SIMPLE, fresh("others"))) as destination:
            destination.open()
            claim = destination.claim(TOPIC, 0, 1)
            alter = SQL("ALTER TABLE {} ADD COLUMN checked_by text NOT NULL").format(Identifier(ROWS, case.name))
            with psycopg.connect(case.dsn, autocommit=True) as session:
                session.execute(alter)
            for refused in (lambda: destination.write(batch_of(THREE, claim, 3)), destination.open):
                with pytest.raises(ConfigError, match=r'column "checked_by" of .* must not be null.*give it a default'):
                    refused()
            with psycopg.connect(case.dsn, autocommit=True) as session:
                session.execute(SQL("ALTER TABLE {} DROP COLUMN checked_by").format(Identifier(ROWS, case.name)))
            destination.write(batch_of(THREE, claim, 3))
            assert len(case.rows()) == 3
