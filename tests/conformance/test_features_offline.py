"""The history of a feature view: each event of it once, whatever is killed, replayed, or taken over meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clearwell.contract.feature_views import view_of
from clearwell.contract.features import FeatureView
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_files import columns_of, events_folder
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect
from clearwell.errors import ConfigError, Fenced, Retryable
from clearwell.features import event_history
from clearwell.features.event_history import ViewEvent
from clearwell.settings import Settings
from tests.support.s3_server import SECRET, S3Server
from tests.support.visits import NAMES, OPTIONS, SCHEMA, START, Row, batch, deliver, rows_of, serving_since

LATER = datetime(2014, 1, 1, tzinfo=UTC)
Opened = Callable[..., FeaturesDestination]


@pytest.fixture
def where(stack: Settings, tmp_path: Path) -> Settings:
    """The stack, with a folder for histories that is the test's own."""
    return replace(stack, offline=str(tmp_path / "offline"))


@pytest.fixture
def view(unique: Callable[[str], str]) -> FeatureView:
    return view_of(SCHEMA, unique("view"), OPTIONS | {"lateness": "3h"})


@pytest.fixture
def opened(where: Settings, view: FeatureView, unique: Callable[[str], str]) -> Iterator[Opened]:
    """Makes open destinations of the view, of a group of their own where none is given."""
    made: list[FeaturesDestination] = []

    def make(kind: type[FeaturesDestination] = FeaturesDestination, group: str = "") -> FeaturesDestination:
        made.append(kind(where.postgres, SCHEMA, view, group or unique("group"), Folder.root(where)))
        made[-1].open()
        serving_since(where.postgres, made[-1], START - timedelta(days=9))
        return made[-1]

    yield make
    for one in made:
        one.close()


def read(where: Settings, view: FeatureView, until: datetime = LATER, **more: Any) -> list[ViewEvent]:
    """The history, in raw order."""
    with connect(where.postgres, view) as session:
        files = event_history.list_files(session, view, until)
    found = list(event_history.read(Folder.root(where), view, files, until, **more))
    return sorted(found, key=lambda one: (one.topic, one.partition, one.offset))


def expected(view: FeatureView, rows: Sequence[Row]) -> list[ViewEvent]:
    """What a history of `rows`, delivered in raw order, is: by the rules as they are written."""
    names = [field.name for field in columns_of(view)]
    found, newest = [], dict[Any, datetime]()
    for offset, row in enumerate(rows):
        if row[2] is not None:
            kept = tuple(row[NAMES.index(name)] for name in names)
            known = newest.get(row[2:4], row[1])
            found.append(ViewEvent(kept, "raw-a", 0, offset, known - row[1] > view.lateness))
            newest[row[2:4]] = max(known, row[1])
    return found


def files_of(where: Settings, view: FeatureView) -> set[str]:
    return set(events_folder(Folder.root(where), view.name).names())


def test_each_event_is_there_once_whatever_is_replayed_by_whom(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    rows, rng = rows_of(1, 800), random.Random(1)
    deliver(opened(), rows, range(800), size=64)
    want = expected(view, rows)
    assert read(where, view) == want
    assert any(one.late for one in want)
    deliver(opened(), rows, range(800), size=33)
    some = rng.sample(range(800), 300)
    deliver(opened(), [rows[at] for at in some], some, size=17)
    assert read(where, view) == want
    assert len(files_of(where, view)) == 13  # a replay that brings nothing new writes no file


def test_a_part_that_comes_first_is_completed(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = rows_of(2, 300)
    deliver(opened(), rows[200:], range(200, 300))
    deliver(opened(), rows, range(300), size=64)
    assert [one[:4] for one in read(where, view)] == [one[:4] for one in expected(view, rows)]


def test_a_reader_asks_for_some_entities_and_an_end(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows, until = rows_of(3, 300), START + timedelta(minutes=20)
    deliver(opened(), rows, range(300))
    keys = [("a", 0), ("b", 1)]  # and not ("a", 1), each of whose parts is asked for
    wanted = [one for one in expected(view, rows) if one.row[:2] in keys and one.row[2] <= until]
    assert read(where, view, until, keys=keys) == wanted


class Dying(FeaturesDestination):
    """Loses its connection after a batch and its history are written, before the commit."""

    def _write_events(self, session: Any, batch: Any, newest: Any) -> None:
        super()._write_events(session, batch, newest)
        session.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_what_a_crash_left_is_not_read_and_goes_with_the_next_claim(
    where: Settings, view: FeatureView, opened: Opened
) -> None:
    rows = rows_of(4, 100)
    dying = opened(Dying, view.name)
    with pytest.raises(Retryable):
        deliver(dying, rows[:60], range(60), size=60)
    (left,) = files_of(where, view)
    assert read(where, view) == []
    folder = events_folder(Folder.root(where), view.name)
    folder.put(f".{left}.part", b"half of a file")
    deliver(opened(group=view.name), rows, range(100), size=50)
    assert read(where, view) == expected(view, rows)
    assert len(files_of(where, view)) == 2
    assert left not in files_of(where, view)


def test_a_retry_in_place_replaces_what_it_wrote(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = rows_of(5, 60)
    destination = opened(Dying)
    claim = destination.claim("clean-a", 0, 1)
    with pytest.raises(Retryable):
        destination.write(batch(rows, range(60), claim.epoch, 60))
    destination.__class__ = FeaturesDestination
    destination.write(batch(rows, range(60), claim.epoch, 60))
    assert read(where, view) == expected(view, rows)
    assert len(files_of(where, view)) == 1


def test_an_owner_that_was_replaced_adds_nothing(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = rows_of(6, 100)
    old, new = opened(group=view.name), opened(group=view.name)
    first = old.claim("clean-a", 0, 1)
    old.write(batch(rows[:50], range(50), first.epoch, 50))
    (committed,) = files_of(where, view)
    then = new.claim("clean-a", 0, 2)
    with pytest.raises(Fenced):
        old.write(batch(rows[50:], range(50, 100), first.epoch, 100))
    late = committed.replace(".50.", ".100.")  # as if it had come to write its file before it noticed
    folder = events_folder(Folder.root(where), view.name)
    folder.put(late, folder.get(committed) or b"")
    new.write(batch(rows[50:], range(50, 100), then.epoch, 100))
    assert read(where, view) == expected(view, rows)
    new.claim("clean-a", 0, 3)
    assert late not in files_of(where, view)
    assert read(where, view) == expected(view, rows)


def test_a_widened_view_reads_what_was_written_before(where: Settings, view: FeatureView, opened: Opened) -> None:
    rows = rows_of(7, 50)
    deliver(opened(), rows, range(50))
    wider = view_of(SCHEMA, view.name, OPTIONS | {"features": OPTIONS["features"] | {"last_id": "id"}})
    at = [field.name for field in columns_of(wider)].index("id")
    assert {one.row[at] for one in read(where, wider)} == {row[0] for row in rows if row[2] is not None}
    narrow = {name: option for name, option in OPTIONS["features"].items() if option != {"max": "cost", "window": "2h"}}
    assert len(read(where, view_of(SCHEMA, view.name, OPTIONS | {"features": narrow}))) == len(read(where, view))


@pytest.mark.parametrize("harm", ["gone", "cut short", "another folder"])
def test_a_history_that_was_harmed_is_one_sentence(
    where: Settings, view: FeatureView, opened: Opened, harm: str, tmp_path: Path
) -> None:
    deliver(opened(), rows_of(8, 50), range(50))
    folder = events_folder(Folder.root(where), view.name)
    (name,) = folder.names()
    if harm == "gone":
        folder.remove([name])
    elif harm == "cut short":
        folder.put(name, (folder.get(name) or b"")[:-100])
    else:
        where = replace(where, offline=str(tmp_path))
    with pytest.raises(ConfigError, match=r"bring it back") as told:
        read(where, view)
    assert name in str(told.value)


def test_a_folder_that_can_not_be_written_moves_nothing(where: Settings, view: FeatureView, opened: Opened) -> None:
    (Path(str(where.offline))).write_text("a file")
    destination = opened()
    with pytest.raises(ConfigError, match="set CLEARWELL_OFFLINE to another folder"):
        deliver(destination, rows_of(9, 50), range(50))
    assert destination.row_count() == 0
    Path(str(where.offline)).unlink()
    deliver(destination, rows_of(9, 50), range(50))
    assert read(where, view) == expected(view, rows_of(9, 50))


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


def test_a_history_in_an_object_store(
    stack: Settings, view: FeatureView, unique: Callable[[str], str], s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    where = replace(stack, offline=s3.url("offline"))
    rows = rows_of(10, 100)
    with closing(FeaturesDestination(where.postgres, SCHEMA, view, unique("group"), Folder.root(where))) as destination:
        destination.open()
        serving_since(where.postgres, destination, START - timedelta(days=9))
        deliver(destination, rows, range(100))
        assert read(where, view) == expected(view, rows)
        events_folder(Folder.root(where), view.name).remove(["nothing.parquet"])
        nowhere = replace(stack, offline="s3://nowhere/offline")
        with pytest.raises(ConfigError, match="is missing in s3://nowhere/"):
            read(nowhere, view)
        with pytest.raises(ConfigError, match="fsspec package"):
            read(replace(stack, offline="sss://nowhere/offline"), view)
