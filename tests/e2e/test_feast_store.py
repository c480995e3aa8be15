"""Our online store through Feast's own API, on a real server: what is read, what a late write may not do."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.destinations.features.destination import FeaturesDestination
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.protocol import CleanBatch
from clearwell.errors import ClearwellError, ConfigError
from clearwell.features.declared_views import DeclaredView, declared_views
from clearwell.settings import Settings
from tests.support.views import tell_feast

pytestmark = pytest.mark.slow

pandas = pytest.importorskip("pandas")
PushMode = pytest.importorskip("feast.data_source").PushMode
pytest.importorskip("clearwell.features.feast_registry")
feast_store = pytest.importorskip("clearwell.features.feast_store")

CONTRACT = """
stream: $stream
version: 1
owner: someone@example.com
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  leg: {type: string, required: true}
  number: {type: int64, required: true}
  at: {type: timestamp, required: true}
  delay: {type: int32}
  speed: {type: float64}
  fare: {type: decimal, precision: 12, scale: 2}
  day: {type: date}
  seen: {type: timestamp}
  open: {type: bool}
  tags: {type: list, items: string}
routes:
  - to: features.$view
    entity: {name: $entity, keys: [leg, number]}
    ttl: 3660d
    features:
      last_delay: delay
      last_speed: speed
      last_fare: fare
      last_day: day
      last_seen: seen
      is_open: open
      last_tags: tags
      events_1d: {count: id, window: 1d, slide: 1h}
      delay_1d: {mean: delay, window: 1d, slide: 1h}
"""

NOW = datetime.now(UTC).replace(microsecond=0)
PLAIN = ("last_delay", "last_speed", "last_fare", "last_day", "last_seen", "is_open", "last_tags")


@dataclass
class Scene:
    """One view of a stream of its own, in a project of Feast of its own."""

    settings: Settings
    declared: DeclaredView
    store: Any

    @property
    def name(self) -> str:
        return self.declared.view.name

    def deliver(self, *events: dict[str, Any], topic: str = "raw-a" + "a" * 17) -> None:
        """Clean events as the deliverer writes them, offsets in their order."""
        names = [field.name for field in self.declared.schema.fields]
        rows = [tuple(event.get(name) for name in names) for event in events]
        store = FeaturesDestination(
            self.settings.postgres,
            self.declared.schema,
            self.declared.view,
            f"test {self.name}",
            Folder.root(self.settings),
        )
        store.open()
        claim = store.claim(topic, 0, 1)
        begin, end = claim.next_offset, claim.next_offset + len(rows)
        offsets = range(begin, end)
        store.write(
            CleanBatch(topic, 0, end, claim.epoch, rows, [b""] * len(rows), offsets, [topic] * len(rows), offsets, {})
        )
        store.close()

    def push(self, at: datetime, leg: str = "JFK", number: int = 1, **values: Any) -> None:
        columns = {"leg": leg, "number": number, "event_timestamp": at}
        columns |= dict.fromkeys([*PLAIN, "events_1d", "delay_1d"]) | values
        self.store.push(f"{self.name}_push", pandas.DataFrame([columns]))

    def read(self, *features: str, leg: str = "JFK", number: int = 1) -> dict[str, Any]:
        answer = self.store.get_online_features(
            features=[f"{self.name}:{one}" for one in features], entity_rows=[{"leg": leg, "number": number}]
        ).to_dict()
        return {one: answer[one][0] for one in features}


def event(id: str, at: datetime, **values: Any) -> dict[str, Any]:
    return {"id": id, "leg": "JFK", "number": 1, "at": at, **values}


def declare(folder: Path, stream: str, text: str) -> DeclaredView:
    path = folder / stream / "v1.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("$stream", stream).replace("$view", f"{stream}_view").replace("$entity", "leg"))
    (found,) = declared_views(folder)
    return found


@pytest.fixture(params=["UTC", "America/New_York"])
def scene(
    request: pytest.FixtureRequest,
    stack: Settings,
    unique: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scene]:
    monkeypatch.setenv("PGTZ", request.param)
    with open_scene(stack, unique("feast"), tmp_path) as one:
        yield one


@pytest.fixture
def one_scene(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Scene]:
    with open_scene(stack, unique("feast"), tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def untouched(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One view for all the tests of what is refused: applying takes a second; none of them stores a thing."""
    with open_scene(stack, f"feast_{uuid.uuid4().hex[:10]}", tmp_path_factory.mktemp("feast")) as scene:
        yield scene


class open_scene:
    def __init__(self, stack: Settings, stream: str, folder: Path) -> None:
        self.settings = replace(stack, home=folder, schemas=folder / "schemas")
        self.stream = stream

    def __enter__(self) -> Scene:
        declared = declare(self.settings.schemas, self.stream, CONTRACT)
        tell_feast(self.settings, [declared], self.stream)
        self.opened = feast_store.closing_store(self.settings, self.stream)
        return Scene(self.settings, declared, self.opened.__enter__())

    def __exit__(self, *_: object) -> None:
        self.opened.__exit__(None, None, None)


VALUES = {
    "delay": 7,
    "speed": 0.1,
    "fare": Decimal("12.50"),
    "day": date(2026, 1, 2),
    "seen": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "open": False,
    "tags": ["a", "b"],
}
SERVED = {
    "last_delay": 7,
    "last_speed": 0.1,
    "last_fare": Decimal("12.50"),
    "last_day": "2026-01-02",
    "last_seen": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "is_open": False,
    "last_tags": ["a", "b"],
}


def test_what_is_delivered_is_served_with_its_type(scene: Scene) -> None:
    scene.deliver(event("1", NOW - timedelta(hours=3), **VALUES), event("2", NOW - timedelta(hours=4), delay=2))
    assert scene.read(*PLAIN) == SERVED
    assert scene.read("events_1d", "delay_1d", "last_speed") == {"events_1d": 2, "delay_1d": 4.5, "last_speed": 0.1}


def test_what_is_pushed_is_served_with_its_type(scene: Scene) -> None:
    scene.push(NOW, **SERVED)
    assert scene.read(*PLAIN, "events_1d") == SERVED | {"events_1d": 0}


def test_an_entity_that_nobody_knows_has_nulls(one_scene: Scene) -> None:
    one_scene.deliver(event("1", NOW, delay=7))
    assert one_scene.read("last_delay", "events_1d", number=2) == {"last_delay": None, "events_1d": None}


def test_an_entity_past_its_ttl_has_nulls(one_scene: Scene) -> None:
    one_scene.deliver(event("1", NOW - timedelta(days=3661), delay=7))
    assert one_scene.read("last_delay", "events_1d") == {"last_delay": None, "events_1d": None}


def test_many_entities_keep_their_order(one_scene: Scene) -> None:
    one_scene.deliver(*(event(str(n), NOW - timedelta(hours=2), delay=n) | {"number": n} for n in range(20)))
    asked = [17, 3, 99, 3, 0]
    answer = one_scene.store.get_online_features(
        features=[f"{one_scene.name}:last_delay"], entity_rows=[{"leg": "JFK", "number": n} for n in asked]
    ).to_dict()
    assert answer["last_delay"] == [17, 3, None, 3, 0]


def test_a_late_push_never_overwrites_a_newer_value(scene: Scene) -> None:
    times = [NOW + timedelta(minutes=minutes) for minutes in (0, 5, -300, 4, 5 - 60, -1)]
    for number, at in enumerate(times):
        scene.push(at, last_delay=number)
    assert scene.read("last_delay") == {"last_delay": 1}


def test_a_time_without_a_zone_is_utc(scene: Scene) -> None:
    scene.push(NOW, last_delay=1)
    scene.push((NOW - timedelta(minutes=1)).replace(tzinfo=None), last_delay=2)
    assert scene.read("last_delay") == {"last_delay": 1}
    scene.push((NOW + timedelta(minutes=1)).replace(tzinfo=None), last_delay=3)
    assert scene.read("last_delay") == {"last_delay": 3}


def test_pushed_and_delivered_rows_go_by_one_rule(scene: Scene) -> None:
    scene.deliver(event("1", NOW, delay=1))
    scene.push(NOW - timedelta(minutes=1), last_delay=2)
    assert scene.read("last_delay") == {"last_delay": 1}, "an older push"
    scene.push(NOW, last_delay=3)
    assert scene.read("last_delay") == {"last_delay": 1}, "of equal times the delivered one"
    scene.push(NOW + timedelta(minutes=1), last_delay=4)
    assert scene.read("last_delay") == {"last_delay": 4}, "a newer push"
    scene.deliver(event("2", NOW, delay=5))
    assert scene.read("last_delay") == {"last_delay": 4}, "an older delivery"
    scene.deliver(event("3", NOW + timedelta(minutes=1), delay=6))
    assert scene.read("last_delay") == {"last_delay": 6}, "of equal times the delivered one, also when it comes later"


def test_a_batch_with_an_entity_twice_keeps_the_newest(one_scene: Scene) -> None:
    rows = [
        {"leg": "JFK", "number": 1, "event_timestamp": NOW - timedelta(minutes=minutes)}
        | dict.fromkeys([*PLAIN, "events_1d", "delay_1d"])
        | {"last_delay": minutes}
        for minutes in (5, 1, 3)
    ]
    one_scene.store.write_to_online_store(one_scene.name, pandas.DataFrame(rows))
    assert one_scene.read("last_delay") == {"last_delay": 1}


def test_a_windowed_feature_can_not_be_written(untouched: Scene) -> None:
    with pytest.raises(ConfigError, match=r'"events_1d" .* is over a window'):
        untouched.push(NOW, last_delay=1, events_1d=9)
    assert untouched.read("last_delay") == {"last_delay": None}


def test_a_time_far_ahead_is_refused(untouched: Scene) -> None:
    with pytest.raises(ConfigError, match="further ahead of the clock"):
        untouched.push(NOW + timedelta(days=2), last_delay=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("last_delay", "soon"), ("last_delay", 2**31), ("last_delay", 7.5), ("last_delay", True)),
        *(("last_speed", "fast"), ("last_day", "Tuesday"), ("last_day", 20260102), ("last_fare", "free")),
        *(("last_seen", "Monday"), ("is_open", "yes"), ("is_open", 712), ("last_tags", "xyz"), ("last_tags", [712])),
    ],
)
def test_a_feature_of_the_wrong_type_is_told_without_its_value(untouched: Scene, name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f'"{name}" of "{untouched.name}" is of the type') as told:
        untouched.push(NOW, **{name: value})
    assert str(value) not in str(told.value).replace(untouched.name, "")
    assert untouched.read("last_delay") == {"last_delay": None}


def test_whole_numbers_with_a_null_between_them_are_integers(one_scene: Scene) -> None:
    rows = [
        {"leg": "JFK", "number": number, "event_timestamp": NOW}
        | dict.fromkeys([*PLAIN, "events_1d", "delay_1d"])
        | {"last_delay": delay}
        for number, delay in ((1, 7), (2, None))
    ]
    one_scene.store.write_to_online_store(one_scene.name, pandas.DataFrame(rows))
    assert one_scene.read("last_delay") == {"last_delay": 7}
    assert one_scene.read("last_delay", number=2) == {"last_delay": None}


def test_a_history_is_made_of_events_alone(untouched: Scene) -> None:
    frame = pandas.DataFrame([{"leg": "JFK", "number": 1, "event_timestamp": NOW} | dict.fromkeys(PLAIN)])
    frame[["events_1d", "delay_1d"]] = None
    with pytest.raises(ConfigError, match="push to the online store alone"):
        untouched.store.push(f"{untouched.name}_push", frame, to=PushMode.OFFLINE)


def test_text_that_the_server_refuses_is_one_sentence(untouched: Scene) -> None:
    with pytest.raises(ClearwellError) as told:
        untouched.push(NOW, leg="a\x00secret", last_delay=1)
    assert "secret" not in str(told.value)


def test_a_connection_that_died_is_replaced(one_scene: Scene) -> None:
    one_scene.push(NOW, last_delay=1)
    with psycopg.connect(one_scene.settings.postgres, autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'clearwell feast'"
        )
    assert one_scene.read("last_delay") == {"last_delay": 1}


def test_reads_and_writes_of_servers_that_await(one_scene: Scene) -> None:
    one_scene.push(NOW, last_delay=1)

    async def reads() -> list[Any]:
        asked = [{"leg": "JFK", "number": 1}]
        features = [f"{one_scene.name}:last_delay"]
        answers = [one_scene.store.get_online_features_async(features, asked) for _ in range(5)]
        return [answer.to_dict()["last_delay"][0] for answer in await asyncio.gather(*answers)]

    assert asyncio.run(reads()) == [1] * 5


def test_a_table_that_is_gone_is_one_sentence(one_scene: Scene) -> None:
    with psycopg.connect(one_scene.settings.postgres, autocommit=True) as session:
        session.execute(SQL("DROP TABLE {}").format(Identifier("clearwell_features", one_scene.name)))
    with pytest.raises(ConfigError, match="There is no view"):
        one_scene.read("last_delay")
