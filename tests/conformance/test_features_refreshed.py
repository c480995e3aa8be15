"""A refresh from what came since the last one is the same as one of all events."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from clearwell.contract.feature_views import view_of
from clearwell.contract.features import FeatureView
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect
from clearwell.destinations.features.upkeep import compact
from clearwell.features.refresh import FILE, RefreshResult, plan_refresh, refresh
from clearwell.settings import Settings
from tests.support.visits import OPTIONS, SCHEMA, START, Row, batch, rows_of, serving_since

TTLS = (None, timedelta(hours=1), timedelta(hours=9))


@pytest.fixture
def where(stack: Settings, tmp_path: Path) -> Settings:
    return replace(stack, offline=str(tmp_path / "offline"))


@pytest.fixture
def view(unique: Callable[[str], str]) -> FeatureView:
    return view_of(SCHEMA, unique("view"), OPTIONS | {"lateness": "3h", "ttl": "9h"})


def rows_now(where: Settings, view: FeatureView) -> pa.Table:
    data = (Folder.root(where) / view.name).get(FILE)
    assert data is not None
    return parquet.read_table(io.BytesIO(data)).replace_schema_metadata()


def same_as_full(where: Settings, view: FeatureView) -> RefreshResult:
    """Refresh from the last one and then in full: the same rows in the same order."""
    done = refresh(where, view)
    found = rows_now(where, view)
    full = refresh(where, view, full=True)
    assert full.whole
    assert found.equals(rows_now(where, view))
    assert (done.entities, done.rows) == (full.entities, full.rows)
    return done


class Delivering:
    """Delivers rows by their raw offsets, each call a flush; of which some in another order."""

    def __init__(self, where: Settings, view: FeatureView, group: str) -> None:
        self.store = FeaturesDestination(where.postgres, SCHEMA, view, group, Folder.root(where))
        self.store.open()
        serving_since(where.postgres, self.store, START - timedelta(days=9))
        self._claim = self.store.claim("clean-a", 0, 1)
        self._end = 0

    def put(self, rows: Sequence[Row], offsets: Sequence[int]) -> None:
        self._end += len(rows)
        self.store.write(batch(rows, offsets, self._claim.epoch, self._end))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_with_compactions_between(
    where: Settings, view: FeatureView, unique: Callable[[str], str], seed: int
) -> None:
    rng = random.Random(seed)
    view = replace(view, ttl=TTLS[seed % 3])
    rows = [(*row[:1], row[1] + timedelta(minutes=4 * n), *row[2:]) for n, row in enumerate(rows_of(seed, 160))]
    order = list(range(160))
    held = rng.sample(order, 15)  # mended dead letters: they come at the end
    order = [n for n in order if n not in held] + held
    changed = 0
    with closing((feed := Delivering(where, view, unique("group"))).store):
        while order:
            for _ in range(rng.randrange(1, 4)):
                some, order = order[: (size := rng.randrange(1, 15))], order[size:]
                feed.put([rows[n] for n in some], some)
            if rng.random() < 0.3:
                with connect(where.postgres, view) as session:
                    compact(session, Folder.root(where), view, datetime.now(UTC), grace=timedelta(0))
            done = same_as_full(where, view)
            changed += 0 < done.changed < done.entities
    assert changed  # of only some


def test_nothing_new_reads_nothing_and_changes_nothing(
    where: Settings, view: FeatureView, unique: Callable[[str], str]
) -> None:
    rows = rows_of(7, 100)
    with closing((feed := Delivering(where, view, unique("group"))).store):
        feed.put(rows[:60], range(60))
        assert same_as_full(where, view).whole
        before = rows_now(where, view)
        again = refresh(where, view)
        assert (again.changed, again.new, again.files, again.whole) == (0, 0, 1, False)
        assert rows_now(where, view).equals(before)
        feed.put(rows[60:], range(60, 100))
        assert (plan_refresh(where, view).new, plan_refresh(where, view).whole) == (1, False)
        assert not same_as_full(where, view).whole


def test_one_entity_has_news(where: Settings, view: FeatureView, unique: Callable[[str], str]) -> None:
    old = [(f"v{n}", START + timedelta(minutes=n), "ab"[n % 2], 1, n, 0.5, None) for n in range(100)]
    new = [("x", START + timedelta(hours=5), "a", 1, 9, 0.5, None), ("y", START, "c", 2, 9, 0.5, None)]
    with closing((feed := Delivering(where, view, unique("group"))).store):
        feed.put(old, range(100))
        refresh(where, view)
        feed.put(new, [100, 101])
        done = same_as_full(where, view)
    assert (done.changed, done.entities, done.new) == (2, 3, 1)


@pytest.mark.parametrize("harm", ["gone", "cut short", "another definition", "another list"])
def test_with_nothing_to_go_on_from_all_is_made_anew(
    where: Settings, view: FeatureView, unique: Callable[[str], str], harm: str
) -> None:
    with closing((feed := Delivering(where, view, unique("group"))).store):
        feed.put(rows_of(8, 60), range(60))
        refresh(where, view)
        folder = Folder.root(where) / view.name
        if harm == "gone":
            folder.remove([FILE])
        elif harm == "cut short":
            folder.put(FILE, (folder.get(FILE) or b"")[:-20])
        elif harm == "another definition":
            view = replace(view, ttl=timedelta(hours=1))
        else:
            with psycopg.connect(where.postgres) as session:
                session.execute(f"COMMENT ON TABLE clearwell_delivery.offline IS 'Clearwell: {unique('list')}'")
        assert same_as_full(where, view).whole
        assert not refresh(where, view).whole


def test_events_before_1970_and_at_the_edge_of_time(
    where: Settings, view: FeatureView, unique: Callable[[str], str]
) -> None:
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, 23, 30, tzinfo=UTC), START]
    rows: list[Row] = [(f"v{n}", time, "a", 1, n, 0.5, None) for n, time in enumerate(times)]
    with closing((feed := Delivering(where, view, unique("group"))).store):
        for n in (2, 1, 0):
            feed.put(rows[n : n + 1], [n])
            same_as_full(where, view)


def test_how_windows_run_empty_is_told_before_it_comes(
    where: Settings, view: FeatureView, unique: Callable[[str], str]
) -> None:
    """So an entity without news needs nothing of a later refresh."""
    at = datetime.now(UTC)
    with closing((feed := Delivering(where, view, unique("group"))).store):
        feed.put([("v", at, "a", 1, 5, 0.5, None)], [0])
        refresh(where, view)
    *_, empty, expired = rows_now(where, view).to_pylist()
    assert (empty["event_timestamp"] > at, empty["visits"], empty["last_n"]) == (True, 0, 5)
    assert expired["event_timestamp"] == at + timedelta(hours=9, microseconds=1)
    assert (expired["visits"], expired["last_n"]) == (None, None)
