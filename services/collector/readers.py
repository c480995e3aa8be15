"""Makes events of requests in threads of a connector's own, so that the event loop and its neighbours go on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from clearwell.source import PushSource, Request, SourceEvent

SMALL_BODY = 4_096
"""Bytes of a body that is read in the event loop: whatever it holds takes less than 5 ms."""

THREADS = 2


class Readers:
    """The threads of one connector."""

    def __init__(self, connector: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, f"read {connector}")

    async def events(self, source: PushSource, request: Request) -> Sequence[SourceEvent]:
        """The events of a request. Raises as `PushSource.receive`."""
        if len(request.body) <= SMALL_BODY:
            return source.receive(request)
        return await asyncio.get_running_loop().run_in_executor(self._threads, source.receive, request)

    def close(self) -> None:
        """What still goes on is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
