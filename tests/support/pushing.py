"""A small push source, and a collector of this process that serves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from clearwell.plugins import kinds, spec
from clearwell.source import DiscoveredStream, Request, RequestRefused, SourceConfig, SourceEvent
from services.collector.collector import Collector
from services.collector.options import Options
from tests.support.collecting import Sandbox


class LinesConfig(SourceConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing to configure."""


class Lines:
    """Takes an event a line; its id is what is before the first comma. Some words make it refuse, or break."""

    name: ClassVar[str] = "lines"
    Config: ClassVar[type[SourceConfig]] = LinesConfig
    id_fields = ()
    seen: ClassVar[list[Request]] = []

    def __init__(self, config: LinesConfig) -> None:
        self.closed = False

    def check(self) -> None:
        """Nothing can be wrong."""

    def discover(self) -> list[DiscoveredStream]:
        """Nothing is known before."""
        return []

    def receive(self, request: Request) -> Sequence[SourceEvent]:
        """An event a line."""
        self.seen.append(request)
        if request.body == b"refuse":
            raise RequestRefused(401, "The signature is wrong.")
        if request.body.startswith(b"break"):
            raise ValueError(request.body.decode())
        lines = request.body.splitlines()
        return [SourceEvent(line.partition(b",")[0].decode(), line) for line in lines]

    async def close(self) -> None:
        """Nothing is open."""
        self.closed = True


def install(patch: pytest.MonkeyPatch) -> None:
    """Register it under the kind "lines" in this process."""
    known = kinds.source_class
    for module in (kinds, spec):
        patch.setattr(module, "source_class", lambda kind: Lines if kind == "lines" else known(kind))
    Lines.seen = []


@asynccontextmanager
async def serving(sandbox: Sandbox, names: Sequence[str], lease_seconds: float = 3.0) -> AsyncIterator[str]:
    """A collector that serves the connectors `names` once they take requests; gives the address up to the name."""
    stop = asyncio.Event()
    collector = Collector(sandbox.registry, sandbox.settings, names, Options(("127.0.0.1", 0), lease_seconds))
    running = asyncio.create_task(collector.run(stop))
    try:
        async with asyncio.timeout(30):
            while not (collector.port and collector.push_endpoints.keys() >= set(names)):  # noqa: ASYNC110 - asked from outside
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{collector.port}/push/"
    finally:
        stop.set()
        async with asyncio.timeout(20):
            assert await running == 0
