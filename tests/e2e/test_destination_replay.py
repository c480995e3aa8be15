"""`clearwell destination replay` of each kind that has registered stores, and of a feature view, by real deliverers."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from aiohttp import web
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from psycopg.sql import SQL, Identifier

from clearwell.destinations.features.ddl import ROWS
from clearwell.registry import Registry, destinations
from tests.support.kafka_login import login, login_options
from tests.support.platform import Platform, Service, flights_contract, until
from tests.support.views import FAR, flights, ids, served
from tests.support.web_server import WebServer

pytestmark = pytest.mark.slow

KINDS = ("sql", "files", "http", "kafka", "features")
FROM = {"sql": "2h", "kafka": "0:10"}
"""Where a replay begins; the others: at the oldest event."""

COUNT = 400
REFUSED = "e0000007"
"""The event that the receiver refuses until it is mended."""


class Receiver:
    """Remembers which events came, by their ids; answers 422 to one of them while it is `strict`."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.strict = True
        self.server = WebServer(self._answer)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        event = json.loads(await request.read())["id"]
        if self.strict and event == REFUSED:
            return web.Response(status=422)
        self.events[event] += 1
        return web.Response(status=204)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.server.close()


@pytest.fixture
def five(platform_of: Callable[[str], Platform], registry: Registry) -> Iterator[Platform]:
    """A stream with a route of each kind; the stores are called as the stream."""
    lines = [line for line in flights_contract(features=True).splitlines() if "- {to: " not in line]
    routes = [f"  - {{to: {kind}.$stream}}" for kind in KINDS[:-1]]
    at = lines.index("routes:") + 1
    one = platform_of("\n".join([*lines[:at], *routes, *lines[at:]]))
    yield one
    with registry.session() as session:
        for kind in KINDS[:-1]:
            if destinations.find(session, kind, one.stream) is not None:
                destinations.remove(session, kind, one.stream)


def register(one: Platform, run: Callable[..., int], receiver: Receiver, folder: Path) -> None:
    """A database, a folder, a receiver, and the topic of the stream's name."""
    admin = KafkaAdminClient(**login(one.settings.kafka))
    admin.create_topics([NewTopic(f"{one.stream}_out", 1, 1)])
    admin.close()
    file = one.contract_file
    file.write_text(file.read_text().replace(f"kafka.{one.stream}", f"kafka.{one.stream}, topic: {one.stream}_out"))
    way_in = login_options(one.settings.kafka) | {"password": "${env:REPLAY_KAFKA_PASSWORD}"}
    options = {
        "sql": [f"url=sqlite:///{folder}/events.db"],
        "files": [f"url={folder}/files"],
        "http": [f"url={receiver.server.url}", 'secrets=["${env:REPLAY_SECRET}"]'],
        "kafka": [f"{name}={value}" for name, value in way_in.items()],
    }
    for kind, values in options.items():
        sets = [part for value in values for part in ("--set", value)]
        assert run("destination", "register", f"{kind}.{one.stream}", *sets) == 0


def in_topic(one: Platform) -> Counter[str]:
    """The ids of the events in the other topic."""
    place = TopicPartition(f"{one.stream}_out", 0)
    with closing(KafkaConsumer(**login(one.settings.kafka), auto_offset_reset="earliest")) as consumer:
        consumer.assign([place])
        end, found = consumer.end_offsets([place])[place], Counter[str]()
        while consumer.position(place) < end:
            for records in consumer.poll(500).values():
                found.update(json.loads(record.value)["id"] for record in records)
    return found


def spoil(one: Platform, folder: Path) -> None:
    """All rows of the database go, one of the files, and what the view serves as newest."""
    with closing(sqlite3.connect(folder / "events.db")) as database:
        database.execute(f"DELETE FROM {one.stream}")
        database.commit()
    sorted(folder.glob("files/**/*.parquet"))[0].unlink()
    with psycopg.connect(one.settings.postgres) as session:
        session.execute(SQL("DELETE FROM {}").format(Identifier(ROWS, one.stream)))


def test_every_kind(
    five: Platform,
    run: Callable[..., int],
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What was spoilt comes back, what is summed stays, what is given away goes out twice; the balance adds up."""
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(five.settings.schemas))
    monkeypatch.setenv("REPLAY_KAFKA_PASSWORD", login_options(five.settings.kafka)["password"])
    monkeypatch.setenv("REPLAY_SECRET", "whsec_" + "c2VjcmV0" * 4)
    register(five, run, receiver, tmp_path)
    five.put(flights(COUNT))
    five.start("cleaner")
    started: dict[str, Service] = {}
    for kind in KINDS:
        started[kind] = five.start("deliverer", "--destination", f"{kind}.{five.stream}")
    found = five.settle()
    assert found.balanced and set(receiver.events) == {f"e{n:07d}" for n in range(COUNT)} - {REFUSED}
    before = served(five, FAR)

    for kind in KINDS:
        assert run("destination", "pause", f"{kind}.{five.stream}") == 0
    for service in started.values():
        until(lambda service=service: " paused" in service.text(), 20)
    spoil(five, tmp_path)
    receiver.strict = False
    capsys.readouterr()
    again: dict[str, int] = {}
    for kind in ("http", "kafka"):
        assert run("destination", "replay", f"{kind}.{five.stream}", "--from", "earliest") == 2
    assert capsys.readouterr().err.count("would be sent") == 2
    assert five.balance().settled, "without --yes nothing is set back"
    for kind in KINDS:
        yes = ["--yes"] if kind in ("http", "kafka") else []
        capsys.readouterr()
        since = FROM.get(kind, "earliest")
        assert run("destination", "replay", f"{kind}.{five.stream}", "--from", since, *yes, "--json") == 0
        told: Any = json.loads(capsys.readouterr().out)
        again[kind] = sum(told["old"].values()) - sum(told["new"].values())
        assert (told["events"], told["redelivers"]) == (again[kind] - (kind == "http"), bool(yes))
        assert again[kind] == COUNT or (kind == "kafka" and 0 < again[kind] < COUNT)
        assert run("destination", "resume", f"{kind}.{five.stream}") == 0
    found = five.settle()
    assert found.balanced, found
    assert {one.name.split(".")[0]: (one.delivered, one.row_count) for one in found.destinations} == {
        "sql": (COUNT, COUNT),
        "files": (COUNT, COUNT),
        "http": (COUNT, None),
        "kafka": (COUNT, None),
        "features": (COUNT, 4),
    }
    assert receiver.events == Counter({f"e{n:07d}": 2 for n in range(COUNT)}) - Counter([REFUSED])
    found_there = in_topic(five)
    assert (len(found_there), found_there.total()) == (COUNT, COUNT + again["kafka"])
    assert served(five, FAR) == before and ids(five) == [f"e{n:07d}" for n in range(COUNT)]
