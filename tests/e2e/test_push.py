"""Events sent over HTTP: answered after Kafka has them, refused within limits, nothing told to those who guess."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clearwell.errors import Retryable
from clearwell.kafka.producer import EventProducer
from clearwell.registry import State, connectors
from clearwell.registry.connectors import Limits
from clearwell.settings import Settings
from services.collector.request_body import BODY_LIMIT
from tests.support import pushing
from tests.support.collecting import Sandbox, header

Unique = Callable[[str], str]
Test = Callable[[aiohttp.ClientSession, str], Coroutine[Any, Any, None]]


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A stream of its own, with the push source "lines"."""
    pushing.install(monkeypatch)
    made = Sandbox(stack, unique("pushed"), tmp_path)
    yield made
    made.close()


def with_collector(sandbox: Sandbox, name: str, test: Test) -> None:
    """Run `test` with a client and the connector's address while a collector serves it."""

    async def run() -> None:
        async with pushing.serving(sandbox, [name]) as base, aiohttp.ClientSession() as client:
            await test(client, base + name)

    asyncio.run(run())


def event(number: int) -> bytes:
    """One event as the source "lines" takes it: its id comes first."""
    return b"k%d,%d" % (number, number)


def test_an_answered_request_is_in_kafka_and_counted(sandbox: Sandbox, unique: Unique) -> None:
    name = sandbox.add(unique("c"), source="lines")

    async def test(client: aiohttp.ClientSession, url: str) -> None:
        async with client.post(url + "?a=1", data=b"\n".join(map(event, range(3))), headers={"X-One": "2"}) as answer:
            assert (answer.status, await answer.json()) == (200, {"accepted": 3})
            assert "aiohttp" not in answer.headers["Server"]
        records = await asyncio.to_thread(sandbox.new_records)
        assert sorted(record.value for record in records) == [event(n) for n in range(3)]
        assert {header(record, "ce_id") for record in records} == {"k0", "k1", "k2"}
        await asyncio.gather(*(post(client, url, event(n)) for n in range(3, 203)))
        assert len(await asyncio.to_thread(sandbox.new_records)) == 200
        async with client.post(url, data=b"") as answer:
            assert (answer.status, await answer.json()) == (200, {"accepted": 0})

    with_collector(sandbox, name, test)
    request = pushing.Lines.seen[0]
    assert (request.method, request.headers["x-one"], request.query) == ("POST", "2", {"a": "1"})
    connector, saved = sandbox.state(name)
    assert (connector.state, saved.events, saved.position) == (State.RUNNING, 203, None)


async def post(client: aiohttp.ClientSession, url: str, data: Any, **more: Any) -> tuple[int, Any, Any]:
    """Status, JSON and headers of an answer."""
    async with client.post(url, data=data, **more) as answer:
        return answer.status, await answer.json(), answer.headers


def test_what_is_refused_says_no_more_than_it_must(
    sandbox: Sandbox, unique: Unique, caplog: pytest.LogCaptureFixture
) -> None:
    name = sandbox.add(unique("c"), source="lines")

    async def too_much() -> AsyncIterator[bytes]:
        for _ in range(BODY_LIMIT // 65_536 + 2):
            yield bytes(65_536)

    async def test(client: aiohttp.ClientSession, url: str) -> None:
        assert (await post(client, url, b"refuse"))[:2] == (401, {"error": "The signature is wrong."})
        status, said, _ = await post(client, url, b"break jane@example.com")
        assert status == 500 and "jane" not in json.dumps(said) + caplog.text and "ValueError" not in json.dumps(said)
        nobody = (404, {"error": "There is nothing here."})
        assert (await post(client, url + "x", b""))[:2] == nobody
        assert (await post(client, url.replace("/push/", "/"), b""))[:2] == nobody
        async with client.get(url) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert (await post(client, url, too_much()))[0] == 413
        assert (await post(client, url, b"x", headers={"Content-Encoding": "gzip"}))[0] == 415
        assert (await post(client, url, io.BytesIO(bytes(BODY_LIMIT)), headers={"Expect": "100-continue"}))[0] == 200
        assert (await post(client, url, event(1)))[0] == 200

    with_collector(sandbox, name, test)


def test_a_body_that_says_it_is_too_large_is_refused_unread(sandbox: Sandbox, unique: Unique) -> None:
    name = sandbox.add(unique("c"), source="lines")

    async def test(_: aiohttp.ClientSession, url: str) -> None:
        host, _, path = url.removeprefix("http://").partition("/")
        reader, writer = await asyncio.open_connection(*host.split(":"))
        head = f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY_LIMIT + 1}\r\n\r\n"
        writer.write(head.encode())
        assert b" 413 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        await writer.wait_closed()

    with_collector(sandbox, name, test)


def test_too_many_bytes_at_once_are_told_to_come_again(
    sandbox: Sandbox, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request is held up in front of Kafka; another that does not fit beside it gets 429, and fits afterwards."""
    monkeypatch.setattr("services.collector.request_body.BUDGET_BYTES", 1_000)
    monkeypatch.setattr("services.collector.request_body.BodyBudget.__init__.__defaults__", (1_000, 2))
    name = sandbox.add(unique("c"), source="lines")

    async def test(client: aiohttp.ClientSession, url: str) -> None:
        with held_up(monkeypatch) as release:
            first = asyncio.create_task(post(client, url, b"a," + bytes(600)))
            await asyncio.to_thread(release.reached.wait, 10)
            status, _, headers = await post(client, url, b"b," + bytes(600))
            assert (status, headers["Retry-After"]) == (429, "1")

            async def chunks() -> AsyncIterator[bytes]:
                yield bytes(600)

            assert (await post(client, url, chunks()))[0] == 429
            assert not first.done()
        assert (await first)[0] == 200
        assert (await post(client, url, b"b," + bytes(600)))[0] == 200

    with_collector(sandbox, name, test)


class held_up:
    """While entered, nothing is sent to Kafka."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        import threading

        self.reached, self._go = threading.Event(), threading.Event()
        self._patch = patch

    def __enter__(self) -> held_up:
        send = EventProducer.send_batch

        def waiting(producer: EventProducer, topic: str, records: Any) -> None:
            self.reached.set()
            assert self._go.wait(30)
            send(producer, topic, records)

        self._patch.setattr(EventProducer, "send_batch", waiting)
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()


def test_without_an_acknowledgement_nobody_is_told_200(
    sandbox: Sandbox, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 1. Kafka fails once, then is slow; the sender comes again, and the connector recovers by itself."""
    name = sandbox.add(unique("c"), source="lines")
    monkeypatch.setattr("services.collector.running_connector.FIRST_DELAY", 0.05)
    send = EventProducer.send_batch
    failures = [Retryable("Kafka is away")]

    def failing(producer: EventProducer, topic: str, records: Any) -> None:
        if failures:
            raise failures.pop()
        send(producer, topic, records)

    monkeypatch.setattr(EventProducer, "send_batch", failing)

    async def test(client: aiohttp.ClientSession, url: str) -> None:
        status, said, headers = await post(client, url, event(0))
        assert (status, headers["Retry-After"]) == (503, "2") and "Kafka" not in json.dumps(said)
        async with asyncio.timeout(10):
            while (await post(client, url, event(0)))[0] != 200:  # noqa: ASYNC110 - asked from outside
                await asyncio.sleep(0.05)
        monkeypatch.setattr("services.collector.listener.ACK_SECONDS", 0.2)
        with held_up(monkeypatch) as release:
            assert (await post(client, url, event(1)))[0] == 503
            assert release.reached.is_set()

    with_collector(sandbox, name, test)
    assert {header(record, "ce_id") for record in sandbox.new_records()} >= {"k0"}


def test_paused_is_503_and_resumed_is_200(sandbox: Sandbox, unique: Unique) -> None:
    name = sandbox.add(unique("c"), source="lines")

    async def test(client: aiohttp.ClientSession, url: str) -> None:
        for state, status in ((State.PAUSED, 503), (State.RUNNING, 200)):
            with sandbox.registry.session() as session:
                connectors.set_state(session, name, state, str(state))
            async with asyncio.timeout(10):
                while (answer := await post(client, url, event(1)))[0] != status:  # noqa: ASYNC110 - asked from outside
                    await asyncio.sleep(0.05)
            assert ("Retry-After" in answer[2]) == (status == 503)

    with_collector(sandbox, name, test)


def test_a_rate_limit_is_429(sandbox: Sandbox, unique: Unique) -> None:
    name = sandbox.add(unique("c"), source="lines")
    with sandbox.registry.session() as session:
        connectors.change(session, name, {}, [], Limits(events_per_second=5))

    async def test(client: aiohttp.ClientSession, url: str) -> None:
        assert (await post(client, url, b"\n".join(map(event, range(40)))))[0] == 200
        status, _, headers = await post(client, url, event(40))
        assert status == 429 and 1 <= int(headers["Retry-After"]) <= 8

    with_collector(sandbox, name, test)


def test_at_the_end_requests_in_flight_are_answered(
    sandbox: Sandbox, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = sandbox.add(unique("c"), source="lines")

    async def run() -> None:
        async with aiohttp.ClientSession() as client:
            async with pushing.serving(sandbox, [name]) as base:
                holding = held_up(monkeypatch).__enter__()
                waiting = [asyncio.create_task(post(client, base + name, event(n))) for n in range(20)]
                await asyncio.to_thread(holding.reached.wait, 10)
                asyncio.get_running_loop().call_later(1.0, holding.__exit__)
            assert [(await one)[0] for one in waiting] == [200] * 20
            with pytest.raises(aiohttp.ClientConnectionError):
                await post(client, base + name, event(1))

    asyncio.run(run())
    assert len(sandbox.new_records()) == 20
    assert sandbox.state(name)[1].events == 20


def test_kafka_away_is_503_at_once_and_told(sandbox: Sandbox, unique: Unique) -> None:
    name = sandbox.add(unique("c"), source="lines")
    nowhere = replace(sandbox.settings, kafka="127.0.0.1:1")

    async def run() -> None:
        from services.collector.collector import Collector
        from services.collector.options import Options

        stop = asyncio.Event()
        collector = Collector(sandbox.registry, nowhere, name, Options(("127.0.0.1", 0)))
        running = asyncio.create_task(collector.run(stop))
        async with asyncio.timeout(30), aiohttp.ClientSession() as client:
            while sandbox.state(name)[0].last_error is None:  # noqa: ASYNC110 - asked from outside
                await asyncio.sleep(0.05)
            url = f"http://127.0.0.1:{collector.port}/push/{name}"
            assert (await post(client, url, event(1)))[0] == 503
        stop.set()
        await running

    asyncio.run(run())
    assert "Kafka at 127.0.0.1:1 did not answer" in str(sandbox.state(name)[0].last_error)
