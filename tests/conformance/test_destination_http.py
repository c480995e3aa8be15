"""`http` keeps every obligation of what gives events away, against a real server that checks signatures."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from clearwell.contract.model import CleanSchema, Field
from clearwell.destinations.http.destination import HttpConfig, HttpDestination
from clearwell.destinations.protocol import Accounts, RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.settings import Settings
from clearwell.testing import DestinationSuite
from clearwell.testing.destination_cases import Opener, fresh
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, Row, batch_of, some_events
from tests.support.web_server import WebServer, self_signed

SECRET, NEXT = "whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5", "whsec_" + "bmV4dA" * 8
PATH, TOKEN = "canary-path", "canary-token"
REFUSED = -1
"""A `number` that the receiver does not take."""


class Receiver:
    """Remembers what came with a right signature; answers by `answers` first, then 204."""

    def __init__(self, tls: Any = None) -> None:
        self.requests: list[tuple[Mapping[str, str], bytes]] = []
        self.calls = 0
        self.answers: list[tuple[int, Mapping[str, str]]] = []
        self.server = WebServer(self._answer, tls=tls)
        self.url = f"{self.server.url}/{PATH}?of=events"

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        self.calls += 1
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.Response(status=status, headers=headers)
        assert request.path_qs == f"/{PATH}?of=events" and request.headers["Authorization"] == TOKEN
        Webhook(SECRET).verify(body, dict(request.headers), json_parse=False)
        if len(body) > 1_000_000:
            return web.Response(status=413)
        if any(event.get("number") == REFUSED for event, _ in events_of(request.headers, body)):
            return web.Response(status=422, text="canary-answer")
        self.requests.append((dict(request.headers), body))
        return web.Response(status=204)

    def events(self) -> list[tuple[dict[str, Any], str]]:
        """Events and their ids, in the order they came."""
        return [event for headers, body in self.requests for event in events_of(headers, body)]


def events_of(headers: Mapping[str, str], body: bytes) -> list[tuple[dict[str, Any], str]]:
    if headers["Content-Type"].startswith("application/json"):
        return [(json.loads(body), headers["ce-id"])]
    return [(event["data"], event["id"]) for event in json.loads(body)]


RECEIVERS: dict[str, Receiver] = {}


def config_of(url: str, **changes: Any) -> HttpConfig:
    return HttpConfig(**{"url": url, "secrets": [SECRET], "secret_headers": {"Authorization": TOKEN}, **changes})


@dataclass
class HttpCase:
    """One receiver."""

    url: str
    positions: str
    batch_events: int
    secrets: Sequence[str] = (SECRET, PATH, TOKEN, "canary-wrong", "canary-answer")

    def destination(self, schema: CleanSchema, group: str) -> HttpDestination:
        return HttpDestination(config_of(self.url, batch_events=self.batch_events), schema, self.positions, group)

    def rows(self) -> list[dict[str, Any]]:
        found = []
        for event, event_id in RECEIVERS[self.url].events():
            topic, partition, offset = event_id.split("/")
            found.append(event | {"_raw_topic": topic, "_raw_partition": int(partition), "_raw_offset": int(offset)})
        return found

    @property
    def poisons(self) -> Mapping[str, Callable[[Row], Row]]:
        return {
            "an event that the receiver refuses": lambda row: (*row[:2], REFUSED, row[3]),
            "an event that is too large for it": lambda row: (*row[:3], "x" * 1_000_001),
        }

    def broken(self) -> Mapping[str, Callable[[], HttpDestination]]:
        def at(url: str, **changes: Any) -> Callable[[], HttpDestination]:
            return lambda: HttpDestination(config_of(url, **changes), SIMPLE, self.positions, "broken")

        plain = self.url.partition("://")[2]
        return {
            "no URL": at("canary-wrong"),
            "a port that is none": at("http://host:canary-wrong/"),
            "a password in the URL": at("http://me:canary-wrong@host/"),
            "another protocol": at(f"ftp://{plain}"),
            "nobody there": at(f"http://127.0.0.1:1/{PATH}"),
            "no such name": at(f"http://nowhere.invalid/{PATH}"),
            "no TLS there": at(f"https://{plain}"),
            "a link-local address": at(f"http://169.254.169.254/{PATH}"),
            "a secret that is too short": at(self.url, secrets=["whsec_Y2FuYXJ5"]),
            "a secret that is none": at(self.url, secrets=["canary-wrong"]),
            "a header with a line break": at(self.url, secret_headers={"Authorization": "canary-wrong\r\nx: y"}),
            "no authorities": at(f"https://{plain}", ca="/nowhere/ca.pem"),
        }


def in_json(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


ANSWERS: Sequence[tuple[int, type[ClearwellError]]] = [
    *((status, Retryable) for status in (408, 425, 429, 500, 503)),
    *((status, ConfigError) for status in (302, 401, 403, 404, 405, 410)),
    *((status, RowsRefused) for status in (400, 409, 422)),
]


class Http(DestinationSuite):
    """One event a request, and several."""

    batch_events: ClassVar[int]
    cannot: ClassVar[Mapping[str, str]] = {
        "test_other_type": "a webhook's receiver has no types that Clearwell knows of",
        "test_other_key": "a webhook gives every event away, whatever its key is",
    }

    @pytest.fixture
    def case(self, stack: Settings) -> Iterator[HttpCase]:
        receiver = Receiver()
        RECEIVERS[receiver.url] = receiver
        yield HttpCase(receiver.url, stack.postgres, self.batch_events)
        receiver.server.close()

    def narrowed(self, field: Field, value: Any) -> Any:
        """As JSON has it."""
        return in_json(value)


class TestSingle(Http):
    """Each event by itself."""

    batch_events = 1

    def test_a_request(self, case: HttpCase, opened: Opener) -> None:
        """A CloudEvent in binary mode, whose body is the clean event untouched."""
        destination = opened()
        batch = batch_of([CleanEvent("a", START, 1, raw_offset=7)], destination.claim(TOPIC, 0, 1), 1)
        destination.write(batch)
        [(headers, body)] = RECEIVERS[case.url].requests
        assert body == batch.values[0]
        told = {name: headers[name] for name in headers if name.startswith(("ce-", "webhook-id"))}
        assert told == {
            "ce-specversion": "1.0", "ce-source": "/streams/flights", "ce-type": "clearwell.flights",
            "ce-dataschema": "flights/v1", "ce-id": "raw-a/0/7", "webhook-id": "raw-a/0/7",
        }  # fmt: skip

    def test_halving_sends_nothing_twice(self, case: HttpCase, opened: Opener) -> None:
        """What the receiver has taken of a refused batch is not sent again with its halves."""
        destination, receiver = opened(), RECEIVERS[case.url]
        claim = destination.claim(TOPIC, 0, 1)
        events = some_events(9, 40, 40)
        rows = [event.row for event in events]
        rows[21] = (*rows[21][:2], REFUSED, rows[21][3])
        batch = batch_of(events, claim, 40, rows=rows)
        with pytest.raises(RowsRefused):
            destination.write(batch)
        assert destination.accounts(TOPIC)[0] == Accounts(0, 0)
        for half in batch.halves():
            try:
                destination.write(half)
            except RowsRefused:
                assert half.offsets[0] == 20
        assert len(receiver.requests) == 21

    def test_all_secrets_sign(self, case: HttpCase) -> None:
        """So that a receiver may know the old one or the next one."""
        destination = HttpDestination(
            config_of(case.url, secrets=[NEXT, SECRET]), SIMPLE, case.positions, fresh("both")
        )
        destination.open()
        self.deliver(destination, [CleanEvent("a", START, 1, raw_offset=0)])
        destination.close()
        [(headers, body)] = RECEIVERS[case.url].requests
        Webhook(NEXT).verify(body, dict(headers), json_parse=False)

    @pytest.mark.parametrize(("status", "kind"), ANSWERS)
    def test_answers(self, case: HttpCase, opened: Opener, status: int, kind: type[ClearwellError]) -> None:
        """What is told, and that the event goes in once the receiver is well."""
        destination, receiver = opened(), RECEIVERS[case.url]
        batch = batch_of([CleanEvent("a", START, 1, raw_offset=0)], destination.claim(TOPIC, 0, 1), 1)
        receiver.answers = [(status, {"Location": f"{case.url}/elsewhere"})]
        with pytest.raises(kind) as told:
            destination.write(batch)
        assert str(status) in str(told.value)
        destination.write(batch)
        assert len(receiver.requests) == 1 and receiver.calls == 2

    def test_retry_after(self, case: HttpCase, opened: Opener) -> None:
        """Until then nothing is sent."""
        destination, receiver = opened(), RECEIVERS[case.url]
        batch = batch_of([CleanEvent("a", START, 1, raw_offset=0)], destination.claim(TOPIC, 0, 1), 1)
        receiver.answers = [(503, {"Retry-After": "1"})]
        began = time.monotonic()
        while not receiver.requests:
            try:
                destination.write(batch)
            except Retryable:
                assert receiver.calls == 1
                time.sleep(0.02)
        assert time.monotonic() - began >= 1 and receiver.calls == 2

    def test_a_connection_that_ended(self, case: HttpCase, opened: Opener) -> None:
        """A kept one that the receiver has closed meanwhile is no failure."""
        destination, receiver = opened(), RECEIVERS[case.url]
        claim = destination.claim(TOPIC, 0, 1)
        events = [CleanEvent("a", START, 1, 0), CleanEvent("b", START, 2, 1)]
        destination.write(batch_of(events[:1], claim, 1))
        receiver.server.close()
        with pytest.raises(Retryable, match="reached"):
            destination.write(batch_of(events[1:], claim, 2))
        receiver.server = WebServer(receiver._answer, port=receiver.server.port)
        destination.write(batch_of(events[1:], claim, 2))
        receiver.server.close()
        receiver.server = WebServer(receiver._answer, port=receiver.server.port)
        destination.write(batch_of([CleanEvent("c", START, 3, 2)], claim, 3))
        assert [event["id"] for event, _ in receiver.events()] == ["a", "b", "c"]

    def test_allow_list(self, case: HttpCase, opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
        """Judged when connecting, also anew while events flow."""
        destination = opened()
        destination.close()
        batch = batch_of([CleanEvent("a", START, 1, raw_offset=0)], destination.claim(TOPIC, 0, 1), 1)
        monkeypatch.setitem(os.environ, "CLEARWELL_EGRESS_ALLOW", "example.com")
        for attempt in (lambda: destination.write(batch), opened):
            with pytest.raises(ConfigError, match="CLEARWELL_EGRESS_ALLOW"):
                attempt()

    def test_tls(self, case: HttpCase, tmp_path: Path) -> None:
        """A certificate that nobody knows is refused, and taken with `ca`."""
        tls, ca = self_signed(tmp_path)
        receiver = Receiver(tls)
        try:
            for wanted, kind in ((None, ConfigError), (str(ca), None)):
                config = config_of(receiver.url, ca=wanted)
                destination = HttpDestination(config, SIMPLE, case.positions, fresh("tls"))
                try:
                    destination.open()
                    self.deliver(destination, [CleanEvent("a", START, 1, raw_offset=0)])
                    assert kind is None
                except ConfigError as error:
                    assert kind is ConfigError and "could not prove who it is" in str(error)
                destination.close()
            assert len(receiver.requests) == 1
        finally:
            receiver.server.close()

    def test_silence(self, case: HttpCase) -> None:
        """It is retried after `timeout`."""

        async def silent(_request: web.BaseRequest) -> web.Response:
            await asyncio.sleep(30)
            return web.Response()

        server = WebServer(silent)
        destination = HttpDestination(config_of(server.url, timeout=0.2), SIMPLE, case.positions, fresh("silent"))
        destination.open()
        with pytest.raises(Retryable, match=r"0\.2 seconds"):
            self.deliver(destination, [CleanEvent("a", START, 1, raw_offset=0)])
        destination.close()
        server.close()


@pytest.mark.slow
class TestArrays(Http):
    """Up to 25 events a request."""

    batch_events = 25

    def test_a_request(self, case: HttpCase, opened: Opener) -> None:
        """CloudEvents in batch mode; the same events sent again have the same webhook-id."""
        destination, receiver = opened(), RECEIVERS[case.url]
        batch = batch_of(some_events(2, 30, 9), destination.claim(TOPIC, 0, 1), 30)
        receiver.answers = [(500, {})]
        with pytest.raises(Retryable):
            destination.write(batch)
        destination.write(batch)
        assert [headers["webhook-id"] for headers, _ in receiver.requests] == [
            f"{TOPIC}/0/0-24/25",
            f"{TOPIC}/0/25-29/5",
        ]
        first = json.loads(receiver.requests[0][1])[0]
        assert first.pop("data") == json.loads(batch.values[0])
        assert first == {
            "specversion": "1.0", "source": "/streams/flights", "type": "clearwell.flights", "id": "raw-a/0/0",
            "dataschema": "flights/v1", "datacontenttype": "application/json",
        }  # fmt: skip
        assert receiver.requests[0][0]["Content-Type"].startswith("application/cloudevents-batch+json")


def test_reasons(stack: Settings) -> None:
    """413 says that it is too large."""
    receiver = Receiver()
    RECEIVERS[receiver.url] = receiver
    receiver.answers = [(413, {}), (409, {})]
    destination = HttpDestination(config_of(receiver.url), SIMPLE, stack.postgres, fresh("reasons"))
    destination.open()
    batch = batch_of([CleanEvent("a", START, 1, raw_offset=0)], destination.claim(TOPIC, 0, 1), 1)
    for reason in (RowReason.TOO_LARGE, RowReason.REJECTED):
        with pytest.raises(RowsRefused) as refused:
            destination.write(batch)
        assert refused.value.reason is reason
    destination.close()
    receiver.server.close()
