"""Small files of a history are joined: each event is read once before, between and after, whatever is killed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from clearwell.contract.feature_views import view_of
from clearwell.contract.features import FeatureView
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_compaction import Listed, groups
from clearwell.destinations.features.history_files import events_folder
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect
from clearwell.destinations.features.upkeep import ViewCompaction, compact, pace, plan
from clearwell.errors import ConfigError, Retryable
from clearwell.features import event_history
from clearwell.features.event_history import ViewEvent
from clearwell.features.history import read_timelines
from clearwell.settings import Settings
from tests.support.visits import OPTIONS, SCHEMA, START, deliver, rows_of

LATER = datetime(2014, 1, 1, tzinfo=UTC)
NOW = timedelta(0)
Opened = Callable[..., FeaturesDestination]


@pytest.fixture
def where(stack: Settings, tmp_path: Path) -> Settings:
    return replace(stack, offline=str(tmp_path / "offline"))


@pytest.fixture
def view(unique: Callable[[str], str]) -> FeatureView:
    return view_of(SCHEMA, unique("view"), OPTIONS | {"lateness": "3h"})


@pytest.fixture
def opened(where: Settings, view: FeatureView, unique: Callable[[str], str]) -> Iterator[Opened]:
    """Makes open destinations of the view, each of a group of its own."""
    made: list[FeaturesDestination] = []

    def make(view: FeatureView = view, **more: Any) -> FeaturesDestination:
        made.append(FeaturesDestination(where.postgres, SCHEMA, view, unique("group"), Folder.root(where), **more))
        made[-1].open()
        return made[-1]

    yield make
    for one in made:
        one.close()


def compacted(where: Settings, view: FeatureView, root: Folder | None = None, **more: Any) -> ViewCompaction:
    with connect(where.postgres, view) as session:
        return compact(session, root or Folder.root(where), view, LATER, **more)


def listed(where: Settings, view: FeatureView) -> list[str]:
    with connect(where.postgres, view) as session:
        return event_history.list_files(session, view, LATER)


def read(where: Settings, view: FeatureView, files: Sequence[str] | None = None) -> list[ViewEvent]:
    """The history, in raw order."""
    found = list(event_history.read(Folder.root(where), view, listed(where, view) if files is None else files, LATER))
    return sorted(found, key=lambda one: (one.topic, one.partition, one.offset))


def folder_of(where: Settings, view: FeatureView) -> Folder:
    return events_folder(Folder.root(where), view.name)


def test_many_files_become_few_and_no_event_is_lost_or_doubled(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    deliver(opened(), rows_of(1, 1000), range(1000), size=20)
    before, files = read(where, view), listed(where, view)
    assert (len(files), len(before)) == (50, len([row for row in rows_of(1, 1000) if row[2] is not None]))
    with connect(where.postgres, view) as session:
        told = plan(session, view, LATER)
    assert (told.files, told.small, told.into, told.replaced) == (50, 50, 1, 0)
    done = compacted(where, view)
    assert (done.removed, done.added, done.swept) == (50, 1, 0)
    assert len(listed(where, view)) == 1
    assert read(where, view) == before
    assert read(where, view, files) == before  # who has listed before reads on
    assert compacted(where, view).removed == 0
    assert compacted(where, view, grace=NOW).swept == 50
    assert folder_of(where, view).names() == listed(where, view)
    assert read(where, view) == before


def test_only_small_ones_are_joined_up_to_a_size() -> None:
    files = [Listed(str(n), 1, size, START, START) for n, size in enumerate((10, 30, 50, 80, 10, 49, 45, 3))]
    assert [[one.name for one in group] for group in groups(files, 100)] == [["0", "1", "4", "5"], ["6", "7"]]
    assert list(groups(files[:1], 100)) == []
    assert list(groups([files[5], files[6], files[5]], 60)) == []


def test_a_file_that_grew_large_stays(where: Settings, view: FeatureView, opened: Opened) -> None:
    deliver(opened(), rows_of(2, 900), range(900), size=30)
    compacted(where, view)
    (large,) = listed(where, view)
    deliver(opened(), rows_of(2, 960)[900:], range(900, 960), size=10)
    before = read(where, view)
    done = compacted(where, view, target=len(folder_of(where, view).get(large) or b""))
    assert (done.removed, listed(where, view)[0]) == (6, large)
    assert read(where, view) == before


def test_a_deliverer_writes_meanwhile_and_joins_as_it_goes(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = rows_of(3, 1000)
    deliver(opened(), rows[:500], range(500), size=20)
    deliver(opened(compact_every=7), rows, range(1000), size=20)
    assert len(listed(where, view)) < 10
    deliver(opened(view_of(SCHEMA, f"{view.name}_plain", OPTIONS | {"lateness": "3h"})), rows, range(1000))
    plain = replace(view, name=f"{view.name}_plain")
    assert read(where, view) == read(where, plain)


def test_one_at_a_time(where: Settings, view: FeatureView, opened: Opened) -> None:
    destination = opened(compact_every=1)
    deliver(destination, rows_of(4, 40), range(40), size=20)
    with connect(where.postgres, view) as session:
        session.execute(f"SELECT pg_advisory_lock(hashtextextended('clearwell compact {view.name}', 0))")
        with pytest.raises(Retryable, match="Somebody compacts the view"):
            compacted(where, view)
        before = listed(where, view)
        deliver(opened(compact_every=1), rows_of(4, 80)[40:], range(40, 80), size=20)  # passes it over, and delivers
        assert len(listed(where, view)) == len(before) + 2
    compacted(where, view)
    assert len(listed(where, view)) == 1


class Killed(Exception):
    """Stands for the end of the process."""


class Failing(Folder):
    """Ends the process before, or right after, the n-th thing it does to the store."""

    left = 0
    after = False

    def _step(self, work: Callable[[], None]) -> None:
        Failing.left -= 1
        if Failing.left == 0 and not self.after:
            raise Killed
        work()
        if Failing.left == 0:
            raise Killed

    def put(self, path: str, data: bytes) -> None:
        self._step(lambda: super(Failing, self).put(path, data))

    def remove(self, paths: Any) -> None:
        for path in sorted(paths):
            self._step(lambda path=path: super(Failing, self).remove([path]))

    def __truediv__(self, name: str) -> Failing:
        return type(self)(f"{self.url}/{name}")


class FailingAfter(Failing):
    """Right after it."""

    after = True


@pytest.mark.parametrize("kind", [Failing, FailingAfter])
def test_killed_at_any_step_the_next_time_mends_it(
    where: Settings, view: FeatureView, opened: Opened, kind: type[Failing]
) -> None:
    deliver(opened(), rows_of(5, 200), range(200), size=10)
    before, root = read(where, view), kind(Folder.root(where).url)
    target = 3 * max(path.stat().st_size for path in Path(str(where.offline)).rglob("*.parquet"))
    killed = 0
    for step in range(1, 200):
        Failing.left = step
        try:
            compacted(where, view, root, target=target, grace=NOW)
        except Killed:
            killed += 1
        assert read(where, view) == before
        if step > 3 and Failing.left > 0:
            break
    assert killed > 5
    Failing.left = 0
    compacted(where, view, grace=NOW)
    compacted(where, view, grace=NOW)
    assert folder_of(where, view).names() == listed(where, view)
    assert read(where, view) == before


class CuttingOff(Folder):
    """Ends the connections of all who compact, once a joined file is there."""

    dsn = ""

    def put(self, path: str, data: bytes) -> None:
        super().put(path, data)
        with psycopg.connect(self.dsn, autocommit=True) as session:
            session.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    def __truediv__(self, name: str) -> CuttingOff:
        return CuttingOff(f"{self.url}/{name}")


def test_a_connection_lost_before_the_commit_replaces_nothing(
    where: Settings, view: FeatureView, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(opened(), rows_of(6, 100), range(100), size=10)
    before = listed(where, view)
    monkeypatch.setattr(CuttingOff, "dsn", where.postgres)
    with pytest.raises(Retryable):
        compacted(where, view, CuttingOff(Folder.root(where).url))
    assert listed(where, view) == before
    assert len(folder_of(where, view).names()) == len(before) + 1
    compacted(where, view)
    compacted(where, view, grace=NOW)
    assert folder_of(where, view).names() == listed(where, view)


def test_a_reader_that_is_slower_than_the_grace_begins_anew(
    where: Settings, view: FeatureView, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(opened(), rows_of(7, 100), range(100), size=10)
    want = {key: list(one.times) for key, one in read_timelines(where, view, LATER).items()}
    real, turns = event_history.read, 0

    def slow(*given: Any) -> Iterator[ViewEvent]:
        nonlocal turns
        turns += 1
        found = real(*given)
        yield next(found)
        if turns == 1:
            compacted(where, view)
            compacted(where, view, grace=NOW)
        yield from found

    monkeypatch.setattr(event_history, "read", slow)
    assert {key: list(one.times) for key, one in read_timelines(where, view, LATER).items()} == want
    assert turns == 2
    monkeypatch.undo()
    folder_of(where, view).remove(listed(where, view))
    with pytest.raises(ConfigError, match="bring it back"):
        read_timelines(where, view, LATER)


def test_files_of_a_widened_view_are_joined_and_keep_what_a_narrowed_one_does_not_read(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    wider = view_of(SCHEMA, view.name, OPTIONS | {"features": OPTIONS["features"] | {"last_id": "id"}})
    rows = rows_of(8, 200)
    first = replace(view, features=tuple(one for one in view.features if one.source.name != "cost"))
    deliver(opened(), rows[:100], range(100), size=20)
    deliver(opened(wider), rows[100:], range(100, 200), size=20)
    before, narrow = read(where, wider), read(where, first)
    compacted(where, view)
    assert len(listed(where, view)) == 1
    assert (read(where, wider), read(where, first)) == (before, narrow)


def test_files_that_disagree_on_a_type_stay_apart(where: Settings, view: FeatureView, opened: Opened) -> None:
    deliver(opened(), rows_of(9, 100), range(100), size=20)
    folder, files = folder_of(where, view), listed(where, view)
    for name in files[:2]:
        table = parquet.read_table(io.BytesIO(folder.get(name) or b""))
        other = table.set_column(table.column_names.index("n"), "n", table["n"].cast(pa.string()))
        sink = pa.BufferOutputStream()
        parquet.write_table(other, sink)
        folder.put(name, bytes(sink.getvalue()))
    before = read(where, view)
    compacted(where, view)
    assert len(listed(where, view)) == 1 + 3
    compacted(where, view)
    assert read(where, view) == before


@pytest.mark.parametrize("harm", ["gone", "cut short", "another"])
def test_a_harmed_file_is_one_sentence_and_nothing_is_replaced(
    where: Settings, view: FeatureView, opened: Opened, harm: str
) -> None:
    deliver(opened(), rows_of(10, 100), range(100), size=20)
    folder, files = folder_of(where, view), listed(where, view)
    if harm == "gone":
        folder.remove(files[2:3])
    elif harm == "cut short":
        folder.put(files[2], (folder.get(files[2]) or b"")[:-50])
    else:
        sink = pa.BufferOutputStream()
        parquet.write_table(parquet.read_table(io.BytesIO(folder.get(files[2]) or b"")).slice(1), sink)
        folder.put(files[2], bytes(sink.getvalue()))
    with pytest.raises(ConfigError, match="bring it back from a backup") as told:
        compacted(where, view)
    assert files[2] in str(told.value)
    assert listed(where, view) == files
    destination = opened(compact_every=1)
    deliver(destination, rows_of(10, 120)[100:], range(100, 120))  # a warning, and it goes on
    assert len(listed(where, view)) == 6


def test_the_pace_is_a_number() -> None:
    assert (pace({}), pace({"CLEARWELL_FEATURES_COMPACT_EVERY": "0"})) == (500, 0)
    with pytest.raises(ConfigError, match="must be a whole number"):
        pace({"CLEARWELL_FEATURES_COMPACT_EVERY": "often"})
