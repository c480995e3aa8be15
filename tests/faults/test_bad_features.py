"""A real deliverer before a feature view whose tables somebody has changed: one clear sentence, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.destinations.features.ddl import ROWS, TILES
from clearwell.destinations.features.read import OnlineRow, read_online
from clearwell.kafka import names
from tests.support.platform import Platform, Service, until
from tests.support.refusing import accounts_of, letters
from tests.support.views import view_of

pytestmark = pytest.mark.slow

CONTRACT = """
stream: $stream
version: 1
owner: tests@example.com
description: What people paid.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  who: {type: string, required: true}
  amount: {type: int32, required: true}
routes:
  - to: features.$stream
    entity: who
    features:
      last_amount: amount
      paid: {sum: amount, window: 1d}
"""
CANARY = "canary-3e0b"

Do = Callable[[str, str], list[Any]]


@pytest.fixture
def platform(platform_of: Callable[[str], Platform]) -> Platform:
    return platform_of(CONTRACT)


@pytest.fixture
def do(platform: Platform) -> Iterator[Do]:
    """Runs a statement in which {} is the view's table in a schema, once that is there; gives the rows."""
    with psycopg.connect(platform.settings.postgres, autocommit=True) as session:

        def run(schema: str, statement: str) -> list[Any]:
            there = ("SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL", (schema, platform.stream))
            until(lambda: session.execute(*there).fetchone() == (True,))
            done = session.execute(SQL(statement).format(Identifier(schema, platform.stream)))  # type: ignore[arg-type]
            return done.fetchall() if done.description else []

        yield run


def deliver(platform: Platform) -> Service:
    return platform.start("deliverer", "--destination", f"features.{platform.stream}")


def put(platform: Platform, amounts: list[int], start: int = 0) -> None:
    """An event each, in order, of one person each."""
    events = [
        {"id": f"e{at}", "at": "2026-01-01T00:00:00Z", "who": f"p{at}", "amount": amount}
        for at, amount in enumerate(amounts, start)
    ]
    platform.put([json.dumps(event).encode() for event in events], partition=0)


def delivered(platform: Platform) -> int:
    return accounts_of(platform, f"features.{platform.stream}").delivered


def values(do: Do) -> dict[str, int]:
    """The last amount by person."""
    return dict(do(ROWS, "SELECT who, last_amount FROM {}"))


def ends_with(service: Service, platform: Platform, code: int, said: str) -> None:
    """One line tells of it, with no traceback and no data."""
    assert service.ended() == code
    platform.services.remove(service)
    lines = [line for line in service.text().splitlines() if " ERROR " in line]
    assert len(lines) == 1 and said in lines[0], service.text()[-2000:]
    assert "Traceback" not in service.text() and CANARY not in service.text()


DROPPED = "is not as Clearwell made it (UndefinedColumn, SQLSTATE 42703)"


def test_a_column_dropped_under_us(platform: Platform, do: Do) -> None:
    """The process ends and says which; the next one makes the column again and delivers what waited."""
    service = deliver(platform)
    platform.start("cleaner")
    put(platform, [1] * 20)
    until(lambda: delivered(platform) == 20)
    do(ROWS, "ALTER TABLE {} DROP COLUMN last_amount")
    put(platform, [2] * 20, start=20)
    ends_with(service, platform, 2, DROPPED)
    deliver(platform)
    until(lambda: delivered(platform) == 40)
    assert {who for who, one in values(do).items() if one == 2} == {f"p{at}" for at in range(20, 40)}
    assert letters(platform) == [], "that is no fault of the events"


def test_sums_dropped_under_us(platform: Platform, do: Do) -> None:
    """They can't be made again from what is left: the next process says so, and a view of another name has them all."""
    service = deliver(platform)
    platform.start("cleaner")
    put(platform, [1] * 20)
    until(lambda: delivered(platform) == 20)
    do(TILES, 'ALTER TABLE {} DROP COLUMN "sum(amount)"')
    put(platform, [2] * 20, start=20)
    ends_with(service, platform, 2, DROPPED)
    ends_with(deliver(platform), platform, 2, "were made for other windows or fields")
    contract = platform.contract_file
    contract.write_text(contract.read_text().replace("to: features.", "to: features.again_"))
    again = f"features.again_{platform.stream}"
    platform.start("deliverer", "--destination", again)
    until(lambda: accounts_of(platform, again).delivered == 40)
    assert sum(one.values["paid"] for one in online(platform, 40)) == 20 * 1 + 20 * 2


def online(platform: Platform, people: int) -> list[OnlineRow]:
    """What is served on the day of the events."""
    keys = [(f"p{at}",) for at in range(people)]
    return read_online(platform.settings, view_of(platform), keys, datetime(2026, 1, 2, tzinfo=UTC))


def test_a_value_that_does_not_fit_a_feature_any_more(platform: Platform, do: Do) -> None:
    """Somebody made the column narrower: what no longer fits is a dead letter of the view alone, the rest is served."""
    service = deliver(platform)
    do(ROWS, "ALTER TABLE {} ALTER last_amount TYPE smallint")
    platform.start("cleaner")
    put(platform, [1, 70_000, 3])
    until(lambda: delivered(platform) == 2)
    assert values(do) == {"p0": 1, "p2": 3}
    ((letter, value),) = letters(platform)
    assert (letter.destination, letter.reason) == (f"features.{platform.stream}", "a value is out of the store's range")
    assert json.loads(value)["id"] == "e1"
    assert service.stop() == 0


def test_a_feature_whose_type_somebody_changed(platform: Platform, do: Do) -> None:
    """The next deliverer does not begin, and says which; once it is put right all is delivered."""
    service = deliver(platform)
    do(ROWS, "ALTER TABLE {} ALTER last_amount TYPE text")
    assert service.stop() == 0
    platform.start("cleaner")
    put(platform, [1, 2, 3])
    ends_with(deliver(platform), platform, 2, '"last_amount"')
    do(ROWS, "ALTER TABLE {} ALTER last_amount TYPE integer USING last_amount::integer")
    deliver(platform)
    until(lambda: delivered(platform) == 3)
    assert values(do) == {"p0": 1, "p1": 2, "p2": 3}


def test_a_clean_event_whose_feature_has_another_type(platform: Platform, do: Do) -> None:
    """No pipeline of ours wrote it: the deliverer stops, names the place not the value, and serves none of it."""
    service = deliver(platform)
    event = {"id": "e0", "at": "2026-01-01T00:00:00Z", "who": "p0", "amount": CANARY}
    identity = [(names.RAW_TOPIC_ID, b"A" * 22), (names.RAW_OFFSET, b"0")]
    platform.append(names.clean_topic(platform.stream, 1), [(json.dumps(event).encode(), identity, 0)])
    ends_with(service, platform, 70, "is not a clean event of")
    assert values(do) == {}
