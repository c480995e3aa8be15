"""Tiles that no window needs go; what is served stays what the events say, or is told to be too long ago."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.contract.feature_views import view_of
from clearwell.contract.features import FeatureView
from clearwell.destinations.features import retention_floor, tile_pruning
from clearwell.destinations.features.ddl import TILES
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect, read_online
from clearwell.destinations.features.retention_floor import whole_since
from clearwell.destinations.features.tiles import TileBuilder, microseconds
from clearwell.destinations.features.upkeep import ViewCompaction, compact
from clearwell.destinations.features.values_at import bounds, value_at
from clearwell.features.verify import verify
from clearwell.settings import Settings
from tests.support.visits import NAMES, OPTIONS, SCHEMA, START, Row, batch, deliver, keys_of, rows_of, serving_since

LATER = START + timedelta(days=400)
REACH = timedelta(hours=8)  # of the longest window, 4 hours, and its slide, which is as long
FROM_START = [timedelta(minutes=one) for one in (-200, 0, 60, 119, 120, 240, 360, 500, 640)]
FROM_NEWEST = [timedelta(minutes=one) for one in (-545, -300, -60, -1, 0, 45, 150, 400)]


@pytest.fixture
def where(stack: Settings, tmp_path: Path) -> Settings:
    return replace(stack, offline=str(tmp_path / "offline"))


@pytest.fixture
def view(unique: Callable[[str], str]) -> FeatureView:
    return view_of(SCHEMA, unique("view"), OPTIONS | {"lateness": "1h"})


Opened = Callable[..., FeaturesDestination]


@pytest.fixture
def opened(where: Settings, view: FeatureView, unique: Callable[[str], str]) -> Iterator[Opened]:
    """Makes open destinations of the view, each of a group of its own."""
    made: list[FeaturesDestination] = []

    def make(view: FeatureView = view, **more: Any) -> FeaturesDestination:
        made.append(FeaturesDestination(where.postgres, SCHEMA, view, unique("group"), Folder.root(where), **more))
        made[-1].open()
        serving_since(where.postgres, made[-1], START - timedelta(days=9))
        return made[-1]

    yield make
    for one in made:
        one.close()


def compacted(where: Settings, view: FeatureView, now: datetime = LATER, **more: Any) -> ViewCompaction:
    with connect(where.postgres, view) as session:
        return compact(session, Folder.root(where), view, now, **more)


def starts(where: Settings, view: FeatureView) -> list[datetime]:
    query = SQL("SELECT _start FROM {} ORDER BY 1").format(Identifier(TILES, view.name))
    with psycopg.connect(where.postgres) as session:
        return [one for (one,) in session.execute(query).fetchall()]


def events_of(view: FeatureView, rows: Sequence[Row]) -> TileBuilder:
    """The tiles of all rows that are not late by the rule as it is written; none is pruned."""
    builder, newest = TileBuilder(view, NAMES), dict[Any, datetime]()
    for offset, row in enumerate(rows):
        if row[2] is not None:
            known = newest.get(row[2:4], row[1])
            if known - row[1] <= view.lateness:
                builder.add(row, "raw-a", 0, offset)
            newest[row[2:4]] = max(known, row[1])
    return builder


def check(where: Settings, view: FeatureView, rows: Sequence[Row], floor: datetime | None) -> int:
    """Whether at every instant each window is exact, or begins before the floor and is told so; how many are exact."""
    builder, exact, newest = events_of(view, rows), 0, max(row[1] for row in rows)
    for time in (*(START + one for one in FROM_START), *(newest + one for one in FROM_NEWEST)):
        for found in read_online(where, view, keys_of(rows), time):
            want = value_at(view, builder.tiles.get(found.entity, {}), time)
            for one in view.aggregated:
                assert one.window is not None
                first, _ = bounds(one.window, microseconds(time))
                gone = floor is not None and first < microseconds(floor)
                assert (one.name in found.pruned) == gone
                assert found.values[one.name] == (None if gone else want[one.name])
                exact += not gone
    return exact


def test_what_no_window_needs_goes_and_the_rest_is_exact(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = [(f"v{n}", START + timedelta(minutes=n), "a", 1, n, 0.1 * n, None) for n in range(1200)]
    deliver(opened(), rows, range(1200))
    before = check(where, view, rows, None)
    done = compacted(where, view)
    newest = START + timedelta(minutes=1199)
    assert done.floor == newest - REACH - timedelta(hours=1)
    assert done.tiles == 22  # those of half an hour that begin before 10:59
    assert min(starts(where, view)) == START + timedelta(hours=11)
    assert 0 < check(where, view, rows, done.floor) < before
    assert not read_online(where, view, [("a", 1)], whole_since(view, done.floor))[0].pruned
    assert compacted(where, view).tiles == 0


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_in_whatever_order_between_compactions(
    where: Settings, view: FeatureView, opened: Opened, seed: int
) -> None:
    """Late events, replays by others and mended dead letters, some into tiles that are gone: no half tile is served."""
    rng = random.Random(seed)
    rows = [(*row[:1], row[1] + timedelta(minutes=n), *row[2:]) for n, row in enumerate(rows_of(seed, 600))]
    offsets = list(range(600))
    first, again = opened(), opened()
    claim, then = first.claim("clean-a", 0, 1), again.claim("clean-a", 0, 1)
    floor: datetime | None = None
    for end in range(60, 601, 60):
        some = offsets[end - 60 : end]
        first.write(batch([rows[n] for n in some], some, claim.epoch, end))
        replayed = rng.sample(offsets[:end], 30)
        again.write(batch([rows[n] for n in replayed], replayed, then.epoch, end))
        if rng.random() < 0.5:
            floor = compacted(where, view).floor
            assert check(where, view, rows[:end], floor)
    floor = compacted(where, view).floor
    assert floor is not None
    deliver(opened(), rows, range(600), size=77)
    assert check(where, view, rows, floor)
    assert min(starts(where, view)) >= floor


def test_an_event_whose_tile_is_gone_is_counted_and_stays_in_history(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    rows = [(f"v{n}", START + timedelta(hours=n), "a", 1, 1, 1.0, None) for n in range(48)]
    destination = opened()
    deliver(destination, rows[1:], range(1, 48))
    floor = compacted(where, view).floor
    deliver(opened(), rows[:1], [0])  # as a dead letter that was mended: of a lower offset, so it is not late
    with connect(where.postgres, view) as session:
        assert retention_floor.beneath(session, view.name) == 1
    assert destination.late() == 0
    assert check(where, view, rows, floor)
    assert min(starts(where, view)) >= (floor or LATER)
    found = verify(where, view, sample=10, seed=1)
    assert (found.events, found.mismatches) == (48, [])
    assert any(one.served for one in found.compared)


def test_a_tile_that_was_left_beneath_the_floor_is_not_served_and_goes_the_next_time(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    rows = [(f"v{n}", START + timedelta(hours=n), "a", 1, 1, 1.0, None) for n in range(48)]
    deliver(opened(), rows, range(48))
    floor = compacted(where, view).floor
    assert floor is not None
    moved = SQL("UPDATE {} SET _start = _start - interval '2 days' WHERE _start = (SELECT max(_start) FROM {})")
    table = Identifier(TILES, view.name)
    with psycopg.connect(where.postgres) as session:  # as a deliverer that knew the old floor leaves one
        assert session.execute(moved.format(table, table)).rowcount == 1
    assert min(starts(where, view)) < floor
    found = read_online(where, view, [("a", 1)], START + timedelta(hours=1))[0]
    assert set(found.pruned) == {one.name for one in view.aggregated}
    assert {found.values[name] for name in found.pruned} == {None}
    assert compacted(where, view).tiles == 1


def test_an_event_of_the_future_takes_nothing_from_the_present(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    clock = START + timedelta(hours=40)
    rows = [(f"v{n}", START + timedelta(hours=n), "a", 1, 1, 1.0, None) for n in (*range(40), 63)]
    deliver(opened(clock=lambda: clock), rows, range(41))
    assert compacted(where, view, clock).floor == clock - REACH - timedelta(hours=1)
    assert not read_online(where, view, [("a", 1)], clock - timedelta(hours=1))[0].pruned


def test_a_window_that_was_made_longer_is_unknown_until_its_tiles_are_there(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    rows = [(f"v{n}", START + timedelta(hours=n), "a", 1, 1, 1.0, None) for n in range(48)]
    deliver(opened(), rows, range(48))
    compacted(where, view)
    longer = OPTIONS | {"lateness": "1h", "features": OPTIONS["features"] | {"n_day": {"sum": "n", "window": "24h"}}}
    wide = view_of(SCHEMA, view.name, longer)
    opened(wide)
    (found,) = read_online(where, wide, [("a", 1)], START + timedelta(hours=48))
    assert (found.pruned, found.values["n_day"], found.values["n_sum"]) == (("n_day",), None, 2)


def test_ttl_and_the_edges_of_time(view: FeatureView) -> None:
    newest = START + timedelta(days=9)
    kept = replace(view, ttl=timedelta(days=2))
    assert retention_floor.wanted(kept, newest) == newest - REACH - timedelta(hours=1, days=2)
    assert retention_floor.wanted(replace(view, lateness=timedelta.max), newest) is None
    assert whole_since(view, newest) == newest + REACH


def test_tiles_go_a_part_of_the_table_at_a_time(
    where: Settings, view: FeatureView, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(f"v{n}", START + timedelta(hours=n), f"s{n % 50}", 1, 1, 1.0, None) for n in range(900)]
    deliver(opened(), rows, range(900), size=300)
    monkeypatch.setattr(tile_pruning, "BLOCKS", 2)
    total, block, turns = len(starts(where, view)), 0, 0
    removed = 0
    while turns == 0 or block:
        done = compacted(where, view, first=block, steps=3)
        removed, block, turns = removed + done.tiles, done.block, turns + 1
    assert turns > 3
    assert removed == total - len(starts(where, view))
    assert min(starts(where, view)) >= (done.floor or LATER)


def test_a_deliverer_compacts_as_it_goes(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = [(f"v{n}", START + timedelta(hours=n), "a", 1, 1, 1.0, None) for n in range(100)]
    deliver(opened(compact_every=10), rows, range(100), size=5)
    assert len(starts(where, view)) < 20
    with connect(where.postgres, view) as session:
        assert check(where, view, rows, retention_floor.read(session, view.name)) > 0


def test_a_view_that_begins_anew_has_no_floor(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = [(f"v{n}", START + timedelta(hours=n), "a", 1, 1, 1.0, None) for n in range(48)]
    deliver(opened(), rows, range(48))
    assert compacted(where, view).floor is not None
    with psycopg.connect(where.postgres) as session:
        session.execute(SQL("DROP TABLE {}").format(Identifier(TILES, view.name)))
        for name in ("counted", "offline"):
            table = Identifier("clearwell_delivery", name)
            session.execute(SQL("DELETE FROM {} WHERE view_name = %s").format(table), (view.name,))
    deliver(opened(), rows, range(48))
    assert len(starts(where, view)) == 48
    assert check(where, view, rows, None)
