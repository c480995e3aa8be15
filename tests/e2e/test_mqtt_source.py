"""The mqtt source on real brokers: nothing is lost between two sessions, and the broker keeps what is not durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clearwell.egress import VARIABLE
from clearwell.errors import ConfigError, Retryable
from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent
from connectors.mqtt import session as mqtt_session
from connectors.mqtt.source import MqttConfig, MqttPosition, MqttSource
from tests.support.mqtt_broker import KINDS, PASSWORD, USER, Broker
from tests.support.sources.mqtt import MqttCase

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One of each kind for all tests here."""
    made = Broker(request.param, tmp_path_factory.mktemp("broker"))
    yield made
    made.stop()


@pytest.fixture
def plant(broker: Broker, unique: Callable[[str], str]) -> Iterator[MqttCase]:
    """Topics and a session of a test's own."""
    case = MqttCase(broker, unique("plant"), shared=True)
    yield case
    case.close()


def source(config: dict[str, Any], **options: Any) -> MqttSource:
    """A source of a configuration."""
    return MqttSource(msgspec.convert(config | options, MqttConfig))


def take(
    made: MqttSource, count: int, *, durable: int | None = None, after: MqttPosition | None = None
) -> list[SourceEvent]:
    """Read until `count` events have come; those of the first `durable` are acknowledged (all, when None)."""

    async def read() -> list[SourceEvent]:
        found: list[SourceEvent] = []
        taken = 0 if after is None else after.taken
        async with aclosing(made.read(after)) as batches:  # type: ignore[type-var]
            async for events, position in batches:
                found += events
                known = len(found) if durable is None else min(durable, len(found))
                await made.acknowledged(MqttPosition(taken=taken + known))
                assert isinstance(position, MqttPosition) and position.taken == taken + len(found)
                made.__dict__["last"] = position
                if len(found) >= count:
                    return found
        raise AssertionError("reading ended by itself")

    return asyncio.run(asyncio.wait_for(read(), 60))


def test_what_is_durable_is_forgotten_and_the_rest_comes_again(plant: MqttCase) -> None:
    """Five at most are open at a time: brokers send few before the first of them is acknowledged."""
    plant.fill(25)
    first = take(source(plant.config, batch_events=5), 25, durable=20)
    assert sorted(plant.number(event.data) for event in first) == list(range(25))
    plant.fill(5)
    again = take(source(plant.config), 10)
    kept = {event.id for event in first[20:]}
    assert kept <= {event.id for event in again}
    assert {plant.number(event.data) for event in again} >= set(range(25, 30))
    assert len(again) == 10, "a message that was acknowledged came again"


@pytest.mark.slow
def test_a_broker_that_goes_away_is_told_and_its_session_goes_on(plant: MqttCase) -> None:
    plant.fill(10)
    made = source(plant.config)

    async def read() -> None:
        async with aclosing(made.read(None)) as batches:  # type: ignore[type-var]
            async for _ in batches:
                await asyncio.to_thread(plant.broker.stop)

    with pytest.raises(Retryable, match="ended the connection"):
        asyncio.run(asyncio.wait_for(read(), 60))
    plant.broker.start()
    with pytest.raises(Retryable, match="did not answer"):
        source(plant.config, url="mqtt://127.0.0.1:1").check()


def test_payloads_pass_untouched_and_the_topic_is_put_in_front(plant: MqttCase) -> None:
    payloads = [b"{", b"\xff", b" { } ", b'{"n":1}', b"[1]", b"x" * (EVENT_LIMIT + 1)]
    for payload in payloads:
        plant.put(payload, "a").wait_for_publish(20)
    found = take(source(plant.config, topic_field="topic"), len(payloads))
    topic = b'{"topic":"%s/a"' % plant.topic.encode()
    assert [event.data for event in found[:5]] == [b"{", b"\xff", topic + b"}", topic + b',"n":1}', b"[1]"]
    assert found[5].refused is Refusal.TOO_LARGE
    assert len({event.id for event in found}) == len(payloads)


def test_the_same_payload_twice_is_two_events(plant: MqttCase) -> None:
    for _ in range(2):
        plant.put(b"22.5").wait_for_publish(20)
    assert len({event.id for event in take(source(plant.config, id_field=None), 2)}) == 2


def test_what_the_broker_retains_comes_once(plant: MqttCase) -> None:
    """Case B10: after a restart the session goes on; where it is gone, or the topics are others, the id is the same."""
    config = plant.config | {"id_field": None}
    plant.keep(b'{"n":"kept"}')
    first = source(config, client_id=f"{plant.topic}-2")
    (kept,) = take(first, 1)
    plant.put(b'{"n":"new"}').wait_for_publish(20)
    again = take(source(config, client_id=f"{plant.topic}-2"), 1, after=first.__dict__["last"])
    assert [event.data for event in again] == [b'{"n":"new"}'], "What was retained came again."
    assert take(source(config, client_id=f"{plant.topic}-3"), 1) == [kept]
    others = {"topics": [f"{plant.topic}/kept"], "client_id": f"{plant.topic}-2"}
    assert take(source(config, **others), 1, after=first.__dict__["last"]) == [kept]


def test_a_disposed_session_holds_nothing(plant: MqttCase) -> None:
    plant.fill(5)
    made = source(plant.config)
    made.dispose()
    made.dispose()
    session = made._login.open(plant.config["client_id"], clean=False)
    session.subscribe(plant.config["topics"], 1)
    assert session.take(10, 0.5) == []
    plant.put(b'{"id":"new"}').wait_for_publish(20)
    assert [message.payload for message in session.take(10, 10)] == [b'{"id":"new"}']
    session.close()


def test_a_waiting_source_says_it_is_alive(plant: MqttCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.mqtt.source.HEARTBEAT_SECONDS", 1.1)

    async def first() -> tuple[list[SourceEvent], Any]:
        async with aclosing(source(plant.config).read(MqttPosition(taken=7))) as batches:  # type: ignore[type-var]
            return await anext(batches)  # type: ignore[no-any-return]

    events, position = asyncio.run(asyncio.wait_for(first(), 20))
    assert (events, position.taken) == ([], 7)


def test_discover_sees_what_comes(plant: MqttCase) -> None:
    plant.put(b'{"id":"a","value":1.5}').wait_for_publish(20)
    made = source(plant.config)

    async def discover() -> list[Any]:
        looking = asyncio.create_task(asyncio.to_thread(made.discover))
        while not looking.done():
            await asyncio.to_thread(plant.put, b'{"id":"a","value":1.5}')
            await asyncio.sleep(0.1)
        return await looking

    (stream,) = asyncio.run(discover())
    assert (stream.name, dict(stream.fields)) == (plant.topic, {"id": "string", "value": "float64"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_password_is_one_sentence_without_it(kind: str, tmp_path: Path) -> None:
    broker = Broker(kind, tmp_path / "broker", password=True)
    config = {"url": broker.url, "topics": ["a"], "client_id": "c", "username": USER}
    try:
        source(config, password=PASSWORD).check()
        wrong = source(config, password="canary-wrong-password")
        with pytest.raises((ConfigError, Retryable)) as told:
            wrong.check()
        if kind == "mosquitto":
            assert isinstance(told.value, ConfigError)
        assert "canary" not in f"{told.value} {wrong._login!r} {wrong._config!r}"
    finally:
        broker.stop()


def test_what_comes_before_the_answer_does_not_hold_it_up(plant: MqttCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that sends the whole backlog first, which is more than the queue holds, as Mosquitto may."""
    monkeypatch.setattr(mqtt_session, "WAITING_MESSAGES", 10)
    plant.fill(60)
    assert [plant.number(event.data) for event in take(source(plant.config), 60)] == list(range(60))


def test_what_cannot_be_is_told(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"url": "http://x", "topics": ["a"], "client_id": "c"}
    for url in ("http://x", "mqtt://", "mqtt://u:canary@h", "mqtt://h:x"):
        with pytest.raises(ConfigError, match="no address of a broker") as told:
            source(config, url=url).check()
        assert "canary" not in str(told.value)
    with pytest.raises(ConfigError, match="no topic filter"):
        source(config, url=broker.url, topics=["a/#/b"]).check()
    with pytest.raises((ConfigError, Retryable), match=r"prove who it is|did not answer"):
        source(config, url=broker.url.replace("mqtt:", "mqtts:")).check()
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(ConfigError, match="may not be reached"):
        source(config, url=broker.url).check()
