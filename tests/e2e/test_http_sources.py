"""The HTTP sources through a collector into Kafka: signed webhooks, and streams whose collector is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from clearwell.settings import Settings
from tests.support import pushing
from tests.support.collecting import Sandbox, header
from tests.support.sources import http_poll
from tests.support.sources.webhook import WebhookCase

Unique = Callable[[str], str]


@pytest.fixture
def sandbox(stack: Settings, unique: Unique, tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own."""
    made = Sandbox(stack, unique("http"), tmp_path)
    yield made
    made.close()


def test_signed_webhooks_are_in_kafka_when_they_are_answered(sandbox: Sandbox, unique: Unique, tmp_path: Path) -> None:
    case = WebhookCase(tmp_path / "sender")
    name = sandbox.add(unique("c"), source="webhook", **case.config)
    good, many = case.request(1), case.request(3)

    async def sent() -> list[int]:
        async with pushing.serving(sandbox, [name]) as base, aiohttp.ClientSession() as client:

            async def post(request: Any) -> int:
                async with client.post(base + name, data=request.body, headers=request.headers) as answer:
                    assert "secret" not in await answer.text()
                    return answer.status

            forged = {what: await post(one) for what, one in case.forged().items() if what not in ("GET", "nonsense")}
            assert set(forged.values()) == {400, 401}, forged
            return [await post(good), await post(many), await post(good)]

    assert asyncio.run(sent()) == [200, 200, 200]
    records = sandbox.new_records()
    assert sorted(case.number(record.value) for record in records) == [0, 0, 1, 2, 3]
    delivery, batch = good.headers["webhook-id"], many.headers["webhook-id"]
    assert {header(record, "ce_id") for record in records} == {delivery, *(f"{batch}/{n}" for n in range(3))}


def test_an_api_is_read_to_its_end(sandbox: Sandbox, unique: Unique, tmp_path: Path) -> None:
    case = http_poll.open_case(sandbox.settings, tmp_path, unique)
    case.fill(1_234)
    name = sandbox.add(unique("c"), source="http_poll", **case.config)
    assert sandbox.collect(name) == 0
    assert sorted(case.number(record.value) for record in sandbox.new_records()) == list(range(1_234))
    case.close()
