"""Point-in-time joins by Feast's own `get_historical_features`, of events that came out of order, against an oracle."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from clearwell.contract.features import Aggregate, FeatureView
from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.features.declared_views import DeclaredView, declared_views
from clearwell.features.refresh import refresh
from clearwell.settings import Settings
from tests.support.views import tell_feast
from tests.support.visits import Row, deliver, serving_since

pytestmark = pytest.mark.slow

pandas = pytest.importorskip("pandas")
pytest.importorskip("clearwell.features.feast_registry")
feast_store = pytest.importorskip("clearwell.features.feast_store")

START = datetime(2013, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CONTRACT = """
stream: {stream}
version: 1
owner: tests@example.com
description: What flies between two airports.
key: id
event_id: id
event_time: at
fields:
  id: {{type: string, required: true}}
  at: {{type: timestamp, required: true}}
  leg: {{type: string, required: true}}
  number: {{type: int64, required: true}}
  delay: {{type: int32}}
  day: {{type: date}}
routes:
  - to: features.{stream}
    entity: {{name: {stream}_of, keys: [leg, number]}}
    ttl: 10h
    lateness: 3h
    features:
      last_delay: delay
      last_day: day
      flights_2h: {{count: id, window: 2h, slide: 30m}}
      delays_2h: {{sum: delay, window: 2h, slide: 30m}}
      mean_4h: {{mean: delay, window: 4h}}
      worst_1h: {{max: delay, window: 1h}}
"""


def events(seed: int, count: int) -> list[Row]:
    """In raw order; event times jump back by up to five hours, so that some are late, and pause for half a day."""
    rng = random.Random(seed)
    made: list[Row] = []
    for n in range(count):
        at = START + (2 * n + (720 if n > count // 2 else 0) - rng.randrange(300)) * MINUTE
        delay = rng.choice([None, rng.randrange(-20, 200)])
        made.append((f"e{n}", at, rng.choice(["JFK", "LGA"]), rng.randrange(2), delay, at.date()))
    return made


def oracle(view: FeatureView, rows: Sequence[Row], late: set[int], key: tuple[Any, ...], time: datetime) -> list[Any]:
    """From the events, by the words of the reference page and by no code of ours."""
    mine = [(row[1], n, row) for n, row in enumerate(rows) if row[2:4] == key]
    known = [one for one in mine if one[0] <= time]
    assert view.ttl is not None
    if not known or time - max(known)[0] > view.ttl:
        return [None] * len(view.features)
    newest = max(known)[2]
    found: list[Any] = [newest[4], newest[5].isoformat()]
    for feature in view.aggregated:
        assert feature.window is not None
        slide, length = feature.window.slide.total_seconds(), feature.window.length.total_seconds()
        end = math.floor(time.timestamp() / slide) * slide
        inside = [row for at, n, row in mine if n not in late and end - length <= at.timestamp() < end]
        delays = [row[4] for row in inside if row[4] is not None]
        if feature.aggregate is Aggregate.COUNT:
            found.append(len(inside))
        elif feature.aggregate is Aggregate.SUM:
            found.append(sum(delays))
        elif feature.aggregate is Aggregate.MEAN:
            found.append(sum(delays) / len(delays) if delays else None)
        else:
            found.append(max(delays, default=None))
    return found


def late_of(rows: Sequence[Row], lateness: timedelta) -> set[int]:
    newest, found = dict[Any, datetime](), set()
    for n, row in enumerate(rows):
        known = newest.get(row[2:4], row[1])
        if known - row[1] > lateness:
            found.add(n)
        newest[row[2:4]] = max(known, row[1])
    return found


def declare(folder: Path, stream: str) -> DeclaredView:
    path = folder / stream / "v1.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(CONTRACT.format(stream=stream))
    (found,) = declared_views(folder)
    return found


def test_a_join_at_any_instant_is_what_the_events_say(
    stack: Settings, unique: Callable[[str], str], tmp_path: Path
) -> None:
    where = replace(stack, offline=str(tmp_path / "offline"), home=tmp_path, schemas=tmp_path / "schemas")
    stream = unique("legs")
    declared = declare(where.schemas, stream)
    view, rows = declared.view, events(1, 500)
    store = FeaturesDestination(where.postgres, declared.schema, view, unique("group"), Folder.root(where))
    store.open()
    serving_since(where.postgres, store, START - timedelta(days=9))
    deliver(store, rows, range(500))
    store.close()
    late = late_of(rows, view.lateness)
    assert late
    done = refresh(where, view)
    assert done.entities == 4

    rng = random.Random(2)
    asked = [
        (rng.choice(["JFK", "LGA", "EWR"]), rng.randrange(2), START + rng.randrange(-300, 2_800) * MINUTE)
        for _ in range(300)
    ]
    asked += [(row[2], row[3], row[1] + step) for row in rows[::10] for step in (timedelta(0), -MINUTE / 60)]
    tell_feast(where, [declared], stream)
    try:
        joined = _join(where, stream, view, sorted(set(asked)))
    finally:
        tell_feast(where, [], stream)
    assert len(joined) == len(set(asked))
    some = 0
    for (leg, number, time), values in joined.items():
        want = oracle(view, rows, late, (leg, number), time)
        assert values == want, (leg, number, time)
        some += want[0] is not None
    assert some > 100


def _join(where: Settings, project: str, view: FeatureView, asked: Sequence[Any]) -> dict[Any, list[Any]]:
    """The features of each (leg, number, instant), as Feast finds them."""
    names = [one.name for one in view.features]
    frame = pandas.DataFrame(asked, columns=["leg", "number", "event_timestamp"])
    with feast_store.closing_store(where, project) as store:
        job = store.get_historical_features(frame, features=[f"{view.name}:{name}" for name in names])
        found = job.to_arrow().to_pylist()
    return {
        (row["leg"], row["number"], row["event_timestamp"].astimezone(UTC)): [_plain(row[name]) for name in names]
        for row in found
    }


def _plain(value: Any) -> Any:
    """pandas has no whole numbers with nulls between them."""
    return None if value is None or value != value else value
