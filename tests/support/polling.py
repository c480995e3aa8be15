"""The source http_poll against servers that answer as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from clearwell.source import SourceEvent
from connectors.http.poll import HttpPollConfig, HttpPollSource, HttpPosition
from tests.support.web_server import Answer


def source(url: str, **config: Any) -> HttpPollSource:
    return HttpPollSource(msgspec.convert({"url": url, "timeout": 5.0, **config}, HttpPollConfig))


def read(
    one: HttpPollSource, after: HttpPosition | None = None, most: int = 100
) -> list[tuple[list[SourceEvent], HttpPosition | None]]:
    """Batches with events, until the end or `most` of them."""

    async def collect() -> list[Any]:
        batches = []
        reading: Any = one.read(after)
        try:
            async for batch in reading:
                if batch[0]:
                    batches.append(batch)
                if len(batches) == most:
                    break
        finally:
            await reading.aclose()
            await one.close()
        return batches

    return asyncio.run(collect())


def texts(batches: list[Any]) -> list[bytes]:
    return [event.data for events, _ in batches for event in events]


def scripted(
    *answers: web.Response | Callable[[web.BaseRequest], web.StreamResponse],
) -> tuple[Answer, list[web.BaseRequest]]:
    """Gives one answer after the other, the last one again and again; and the requests that came."""
    requests: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        requests.append(request)
        made = answers[min(len(requests), len(answers)) - 1]
        return (
            made(request) if callable(made) else web.Response(status=made.status, body=made.body, headers=made.headers)
        )

    return answer, requests


def json_text(text: str, **options: Any) -> web.Response:
    return web.Response(text=text, content_type="application/json", **options)
