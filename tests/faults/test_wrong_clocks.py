"""A deliverer whose clock is three days behind, while Kafka and the stores have the right one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pymongo import MongoClient

from clearwell.destinations.features.ddl import ROWS
from clearwell.settings import Settings
from tests.support.archives import rows_in
from tests.support.missing import program, skip_without
from tests.support.platform import Platform, Service, until
from tests.support.refusing import accounts_of, letters

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[1] / "support" / "wrong_clock.c"
BEHIND = timedelta(days=-3)

CONTRACT = """
stream: $stream
version: 1
owner: tests@example.com
description: What people paid last.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  amount: {type: int32}
routes:
  - {to: postgres}
  - {to: mongo}
  - {to: lake}
  - {to: features.$stream, entity: id, features: {last_amount: amount}}
limits: {rejected: 5, of_last: 100}
"""


@pytest.fixture
def platform(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Platform]:
    one = Platform(replace(stack, lake=str(tmp_path / "lake")), tmp_path / "platform", unique("stream"), CONTRACT)
    yield one
    one.close()


@pytest.fixture(scope="module")
def wrong_clock(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a process whose clock is behind."""
    compiler, library = program("cc"), tmp_path_factory.mktemp("clock") / "wrong_clock.so"
    if compiler is None:
        skip_without("a C compiler", "apt-get install gcc libc6-dev")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(int(BEHIND.total_seconds()))}


def deliver(platform: Platform, to: str, clock: Mapping[str, str] | None = None) -> Service:
    """`clock` is another one than the machine's."""
    env = {"CLEARWELL_LAKE_COMMIT_SECONDS": "0.1", "CLEARWELL_LAKE_COMPACT_EVERY": "3"}
    env |= clock or {}
    return platform.start("deliverer", "--destination", to, **env)


def put(platform: Platform, people: Iterable[int], amount: int, at: datetime) -> None:
    """An event of each."""
    time = at.isoformat().replace("+00:00", "Z")
    events = [{"id": f"p{one}", "at": time, "amount": amount} for one in people]
    platform.put([json.dumps(event).encode() for event in events], partition=0)


def newest(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Of a table that keeps every event."""
    return {row["id"]: row["amount"] for row in sorted(rows, key=lambda row: (row["at"], row["_raw_offset"]))}


def served(platform: Platform, to: str) -> dict[str, int]:
    """The last amounts by person."""
    settings, stream = platform.settings, platform.stream
    if to == "lake":
        return newest(rows_in(f"{settings.lake}/lake/{stream}_v1"))
    if to == "mongo":
        with MongoClient[dict[str, Any]](settings.mongo) as client:
            return {one["_id"]: one["amount"] for one in client.get_default_database()[stream].find()}
    table, column = (Identifier(stream), "amount") if to == "postgres" else (Identifier(ROWS, stream), "last_amount")
    with psycopg.connect(settings.postgres) as session:
        return dict(session.execute(SQL("SELECT id, {} FROM {}").format(Identifier(column), table)).fetchall())


@pytest.mark.parametrize("to", ["postgres", "mongo", "lake"])
def test_which_event_is_newer_is_not_asked_of_a_clock(
    platform: Platform, to: str, wrong_clock: Mapping[str, str]
) -> None:
    """A right clock, one that is behind, and a right one again: event times and offsets alone decide."""
    now = datetime.now(UTC)
    platform.start("cleaner")
    first = deliver(platform, to)
    put(platform, range(20), amount=1, at=now)
    until(lambda: "starts at offset" in first.text())
    until(lambda: accounts_of(platform, to).delivered == 20)
    first.kill()
    behind = deliver(platform, to, clock=wrong_clock)
    put(platform, range(10), amount=2, at=now + timedelta(seconds=1))
    put(platform, range(10, 20), amount=3, at=now - timedelta(seconds=1))
    put(platform, range(20, 30), amount=4, at=now)
    until(lambda: accounts_of(platform, to).delivered == 50)
    assert served(platform, to) == {f"p{n}": 2 if n < 10 else 1 if n < 20 else 4 for n in range(30)}
    behind.kill()
    last = deliver(platform, to)
    put(platform, range(5), amount=5, at=now + timedelta(seconds=2))
    put(platform, range(5, 10), amount=6, at=now)
    until(lambda: accounts_of(platform, to).delivered == 60)
    assert served(platform, to) == {f"p{n}": 5 if n < 5 else 2 if n < 10 else 1 if n < 20 else 4 for n in range(30)}
    assert letters(platform) == []
    assert last.stop() == 0


def test_a_feature_view_takes_no_event_for_one_of_the_future_for_long(
    platform: Platform, wrong_clock: Mapping[str, str]
) -> None:
    """A view refuses what is a day ahead of the clock. Where the clock is behind, the stop rule ends that soon."""
    to, now = f"features.{platform.stream}", datetime.now(UTC)
    platform.start("cleaner")
    behind = deliver(platform, to, clock=wrong_clock)
    put(platform, range(50), amount=1, at=now)
    assert behind.ended() == 70
    platform.services.remove(behind)
    assert "more than 5 of the last 100 events were refused by features" in behind.text()
    assert "allows: is a clock wrong?" in behind.text()
    refused = {json.loads(value)["id"]: letter.reason for letter, value in letters(platform)}
    assert list(refused.values()) == ["the event's time is too far ahead of the clock"] * 5
    deliver(platform, to)
    until(lambda: accounts_of(platform, to).delivered == 45)
    assert served(platform, to) == {f"p{n}": 1 for n in range(50) if f"p{n}" not in refused}
    assert accounts_of(platform, to).refused == 5
