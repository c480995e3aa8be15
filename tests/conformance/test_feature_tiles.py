"""Tiles in a real server: counted once whatever is replayed by whom, late ones left out, read as they are folded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.contract.feature_views import view_of
from clearwell.contract.features import FeatureView
from clearwell.destinations.features.ddl import TILES
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import OnlineRow, read_online
from clearwell.destinations.features.tiles import TileBuilder
from clearwell.destinations.features.values_at import value_at
from clearwell.destinations.protocol import CleanBatch, RowReason
from clearwell.errors import ConfigError, Retryable
from clearwell.settings import Settings
from clearwell.testing.destination_cases import isolate
from tests.support.visits import NAMES, OPTIONS, SCHEMA, START, Row, batch, deliver, keys_of, rows_of, serving_since

Opened = Callable[..., FeaturesDestination]


@pytest.fixture
def view(unique: Callable[[str], str]) -> FeatureView:
    return view_of(SCHEMA, unique("view"), OPTIONS)


@pytest.fixture
def opened(stack: Settings, view: FeatureView, unique: Callable[[str], str]) -> Iterator[Opened]:
    """Makes open destinations of the view, each of a group of its own."""
    made: list[FeaturesDestination] = []

    def make(view: FeatureView = view, **more: Any) -> FeaturesDestination:
        made.append(FeaturesDestination(stack.postgres, SCHEMA, view, unique("group"), Folder.root(stack), **more))
        made[-1].open()
        serving_since(stack.postgres, made[-1], START - timedelta(days=9))
        return made[-1]

    yield make
    for one in made:
        one.close()


def expected(view: FeatureView, rows: Sequence[Row], time: datetime, partition: int = 0) -> dict[Any, dict[str, Any]]:
    """The windowed features, from all rows that are not late by the rule as it is written."""
    builder, newest = TileBuilder(view, NAMES), dict[Any, datetime]()
    for offset, row in enumerate(rows):
        if row[2] is not None:
            known = newest.get(row[2:4], row[1])
            if known - row[1] <= view.lateness:
                builder.add(row, "raw-a", partition, offset)
            newest[row[2:4]] = max(known, row[1])
    return {key: value_at(view, builder.tiles[key], time) for key in builder.tiles}


def windowed(view: FeatureView, found: Sequence[OnlineRow]) -> dict[Any, dict[str, Any]]:
    names = {one.name for one in view.aggregated}
    return {row.entity: {name: value for name, value in row.values.items() if name in names} for row in found}


def test_what_is_read_is_what_the_events_say(stack: Settings, view: FeatureView, opened: Opened) -> None:
    rows = rows_of(1, 600)
    deliver(opened(), rows, range(600))
    for minutes in (-45, 0, 90, 119, 120, 200, 301):
        time = START + timedelta(minutes=minutes)
        found = read_online(stack, view, keys_of(rows), time)
        assert windowed(view, found) == expected(view, rows, time)
        assert {row.digest for row in found} == {view.digest()}


def test_replays_by_other_groups_count_nothing_twice(stack: Settings, view: FeatureView, opened: Opened) -> None:
    rows, rng = rows_of(2, 400), random.Random(2)
    time = START + timedelta(hours=3)
    deliver(opened(), rows, range(400))
    before = read_online(stack, view, keys_of(rows), time)
    deliver(opened(), rows, range(400), size=33)
    again = rng.sample(range(400), 250)
    deliver(opened(), [rows[i] for i in again], again, size=17)
    assert read_online(stack, view, keys_of(rows), time) == before
    assert windowed(view, before) == expected(view, rows, time)


def test_a_part_that_comes_first_is_completed_by_a_replay(stack: Settings, view: FeatureView, opened: Opened) -> None:
    view = replace(view, name=f"{view.name}_all", lateness=timedelta(days=9))
    rows, time = rows_of(3, 300), START + timedelta(hours=2)
    deliver(opened(view), rows[200:], range(200, 300))
    deliver(opened(view), rows, range(300), size=64)
    assert windowed(view, read_online(stack, view, keys_of(rows), time)) == expected(view, rows, time)


def test_late_events_are_in_no_window_but_counted_as_late(stack: Settings, view: FeatureView, opened: Opened) -> None:
    at = [START + timedelta(hours=8), START + timedelta(hours=2), START + timedelta(hours=2, microseconds=-1)]
    rows = [(f"v{i}", time, "a", 1, i, 1.0, None) for i, time in enumerate(at)]
    destination = opened()
    deliver(destination, rows, range(3))
    (found,) = read_online(stack, view, [("a", 1)], START + timedelta(hours=4))
    assert (found.values["visits"], destination.late()) == (1, 1)
    deliver(opened(), rows, range(3))
    assert destination.late() == 1
    assert destination.accounts("clean-a")[0].delivered == 3


def test_two_groups_and_two_partitions_at_once(stack: Settings, view: FeatureView, opened: Opened) -> None:
    rows, time = rows_of(4, 400), START + timedelta(hours=3)
    deliveries = [(opened(), partition) for partition in (0, 1) for _ in range(2)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: deliver(one[0], rows, range(400), size=20, partition=one[1]), deliveries))
    once = expected(view, rows, time)
    found = windowed(view, read_online(stack, view, keys_of(rows), time))
    assert {k: (v["visits"], v["n_sum"]) for k, v in found.items()} == {
        k: (2 * v["visits"], 2 * v["n_sum"]) for k, v in once.items()
    }


class Dying(FeaturesDestination):
    """Loses its connection after the rows, the tiles and the history of a batch, before the commit."""

    def _write_events(self, session: Any, batch: CleanBatch, newest: Any) -> None:
        super()._write_events(session, batch, newest)
        session.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_what_was_cut_off_before_its_commit_is_written_once(
    stack: Settings, view: FeatureView, opened: Opened, unique: Callable[[str], str]
) -> None:
    rows, time = rows_of(6, 100), START + timedelta(hours=1)
    dying = Dying(stack.postgres, SCHEMA, view, unique("group"), Folder.root(stack))
    dying.open()
    with pytest.raises(Retryable):
        deliver(dying, rows, range(100))
    assert dying.row_count() == 0
    dying.close()
    deliver(opened(), rows, range(100))
    assert windowed(view, read_online(stack, view, keys_of(rows), time)) == expected(view, rows, time)


def test_ttl_and_unknown_entities(stack: Settings, view: FeatureView, opened: Opened) -> None:
    brief = replace(view, name=f"{view.name}_brief", ttl=timedelta(hours=5))
    deliver(opened(brief), [("v", START, "a", 1, 7, 1.5, None)], [0])
    asked = [("a", 1), ("nobody", 1)]
    for hours, last, count, expired in ((2, 7, 1, False), (3, 7, 0, False), (5.1, None, None, True)):
        found, unknown = read_online(stack, brief, asked, START + timedelta(hours=hours))
        assert (found.values["last_n"], found.values["visits"], found.expired) == (last, count, expired)
        assert (set(unknown.values.values()), unknown.event_time) == ({None}, None)
    (early, _) = read_online(stack, brief, asked, START - timedelta(hours=1))
    assert (early.values["last_n"], early.values["visits"]) == (None, 0)


def test_a_clock_far_ahead_is_refused_alone(stack: Settings, view: FeatureView, opened: Opened) -> None:
    destination = opened(clock=lambda: START + timedelta(hours=1))
    ahead = START + timedelta(days=1, hours=1)
    rows = [(f"v{i}", t, "a", 1, i, 1.0, None) for i, t in enumerate((START, ahead + timedelta(microseconds=1), ahead))]
    claim = destination.claim("clean-a", 0, 1)
    refused = isolate(destination, batch(rows, range(3), claim.epoch, 3))
    assert [(offset, error.reason) for offset, error in refused] == [(1, RowReason.AHEAD)]
    assert "a clock wrong" in str(refused[0][1])
    assert read_online(stack, view, [("a", 1)])[0].values["last_n"] == 2


def test_a_value_of_the_wrong_type_moves_nothing(stack: Settings, view: FeatureView, opened: Opened) -> None:
    destination = opened()
    rows: list[Row] = [("v0", START, "a", 1, 5, 1.0, None), ("v1", START, "a", 1, "canary", 1.0, None)]
    claim = destination.claim("clean-a", 0, 1)
    refused = isolate(destination, batch(rows, range(2), claim.epoch, 2))
    assert [(offset, error.reason) for offset, error in refused] == [(1, RowReason.WRONG_TYPE)]
    assert "canary" not in str(refused[0][1])
    assert read_online(stack, view, [("a", 1)], START + timedelta(hours=2))[0].values["n_sum"] == 5


def test_other_windows_and_lost_columns_are_told(stack: Settings, view: FeatureView, opened: Opened) -> None:
    destination = opened()
    other = OPTIONS | {"features": OPTIONS["features"] | {"n2": {"max": "n", "window": "2h"}}}
    with pytest.raises(ConfigError, match="made for other windows or fields"):
        opened(view_of(SCHEMA, view.name, other))
    finer = OPTIONS | {"features": OPTIONS["features"] | {"v2": {"count": "id", "window": "2h", "slide": "10m"}}}
    with pytest.raises(ConfigError, match="made for other windows or fields"):
        opened(view_of(SCHEMA, view.name, finer))
    same_parts = OPTIONS | {"features": OPTIONS["features"] | {"v2": {"count": "id", "window": "6h", "slide": "30m"}}}
    opened(view_of(SCHEMA, view.name, same_parts))  # read of the tiles that are there
    with psycopg.connect(stack.postgres, autocommit=True) as session:
        session.execute(SQL('ALTER TABLE {} DROP COLUMN "sum(n)"').format(Identifier(TILES, view.name)))
    with pytest.raises(ConfigError, match="is not as Clearwell made it"):
        deliver(destination, rows_of(5, 10), range(10))
    with pytest.raises(ConfigError, match="is not as Clearwell made it"):
        read_online(stack, view, [("a", 1)])
    with pytest.raises(ConfigError, match="There is no view"):
        read_online(stack, replace(view, name="nowhere"), [("a", 1)])
