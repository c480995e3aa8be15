"""A real deliverer before a registered sink that is away, at the start and in the middle: told, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from aiohttp import web
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from clearwell.registry import Registry, destinations, migrate
from clearwell.settings import Settings
from tests.support.kafka_login import login, login_options
from tests.support.outage import Way, way_to
from tests.support.platform import Platform, until
from tests.support.refusing import CONTRACT
from tests.support.web_server import WebServer

pytestmark = pytest.mark.slow

SIGNED_BY = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5"


@dataclass
class Sink:
    """What is registered, what it is called when it is away, the way to it, and the ids that it has."""

    config: dict[str, Any]
    env: dict[str, str]
    away: str
    way: Way
    ids: Callable[[], set[str]]
    cut: bool = True
    """Whether shutting the way cuts a connection that is there: Kafka's clients go on to the address it advertises."""


@contextmanager
def sql(stack: Settings, name: str) -> Iterator[Sink]:
    """The embedded PostgreSQL, by SQLAlchemy."""
    parts = conninfo_to_dict(stack.postgres)

    def ids() -> set[str]:
        with suppress(psycopg.errors.UndefinedTable), psycopg.connect(stack.postgres) as session:
            return {one for (one,) in session.execute(SQL("SELECT id FROM {}").format(Identifier(name))).fetchall()}
        return set()

    with way_to(int(parts["port"] or 0)) as way:
        url = f"postgresql+psycopg://{parts['user']}:${{env:FAR_PASSWORD}}@127.0.0.1:{way.port}/{parts['dbname']}"
        env = {"FAR_PASSWORD": str(parts["password"])}
        yield Sink({"url": f"{url}?connect_timeout=2"}, env, "did not answer", way, ids)
    with psycopg.connect(stack.postgres) as session:
        session.execute(SQL("DROP TABLE {}").format(Identifier(name)))


@contextmanager
def http(stack: Settings, name: str) -> Iterator[Sink]:
    """A receiver of events, one a request."""
    got: set[str] = set()

    async def take(request: web.BaseRequest) -> web.Response:
        got.add(json.loads(await request.read())["id"])
        return web.Response(status=204)

    server = WebServer(take)
    try:
        with way_to(server.port) as way:
            config = {"url": f"http://127.0.0.1:{way.port}/events", "secrets": ["${env:FAR_SECRET}"]}
            yield Sink(config, {"FAR_SECRET": SIGNED_BY}, "can't be reached", way, lambda: set(got))
    finally:
        server.close()


@contextmanager
def kafka(stack: Settings, name: str) -> Iterator[Sink]:
    """A topic of one partition."""
    with ExitStack() as held:
        admin = KafkaAdminClient(**login(stack.kafka))
        held.callback(admin.close)
        admin.create_topics([NewTopic(name, 1, 1)])
        held.callback(admin.delete_topics, [name])
        consumer = KafkaConsumer(**login(stack.kafka), enable_auto_commit=False, group_id=None)
        held.callback(consumer.close)
        consumer.assign([TopicPartition(name, 0)])
        consumer.seek_to_beginning()
        got: set[str] = set()

        def ids() -> set[str]:
            for records in consumer.poll(200).values():
                got.update(json.loads(one.value)["id"] for one in records)
            return got

        way = held.enter_context(way_to(int(stack.kafka.rpartition(":")[2])))
        way_in = login_options(stack.kafka)
        config = way_in | {"bootstrap": f"127.0.0.1:{way.port}", "password": "${env:FAR_PASSWORD}"}
        yield Sink(config, {"FAR_PASSWORD": way_in["password"]}, "did not answer", way, ids, cut=False)


@pytest.fixture
def registry(stack: Settings) -> Iterator[Registry]:
    migrate(stack.postgres)
    one = Registry(stack.postgres)
    yield one
    one.close()


KINDS = {"sql": sql, "http": http, "kafka": kafka}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sink_that_is_away(
    kind: str, stack: Settings, registry: Registry, unique: Callable[[str], str], platform_of: Callable[[str], Platform]
) -> None:
    name = unique("sink")
    with KINDS[kind](stack, name) as sink:
        options = {"sql": f", table: {name}", "kafka": f", topic: {name}"}.get(kind, "")
        platform = platform_of(CONTRACT.replace("{to: mongo}", f"{{to: {kind}.{name}{options}}}"))
        with registry.session() as session:
            destinations.add(session, kind, name, sink.config)
        sink.way.shut()
        platform.start("cleaner")
        wanted = _put(platform, 50)
        waiting = platform.start("deliverer", "--destination", f"{kind}.{name}", **sink.env)
        until(lambda: sink.away in waiting.text() and "Trying again" in waiting.text())
        sink.way.open()
        until(lambda: wanted <= sink.ids())
        if sink.cut:
            sink.way.shut()
            told = waiting.text().count("Trying again")
            wanted |= _put(platform, 50, start=50)
            until(lambda: waiting.text().count("Trying again") >= told + 2)
            assert waiting.process.poll() is None
            sink.way.open()
            until(lambda: wanted <= sink.ids())
        assert "Traceback" not in waiting.text() and "canary" not in waiting.text()
        assert all(value not in waiting.text() for value in sink.env.values())
        assert waiting.stop() == 0
        with registry.session() as session:
            destinations.remove(session, kind, name)


def _put(platform: Platform, count: int, start: int = 0) -> set[str]:
    """Raw events into partition 0; their ids."""
    events = [{"id": f"e{n}", "at": "2026-01-01T00:00:00Z", "note": "fine"} for n in range(start, start + count)]
    platform.put([json.dumps(event).encode() for event in events], partition=0)
    return {event["id"] for event in events}
