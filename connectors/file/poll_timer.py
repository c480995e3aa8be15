"""How long a source that waits sleeps between two looks, and when it must be heard of again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

LONGEST = 5.0
"""Seconds between two looks, whatever was configured, so that closing is noticed and heartbeats come in time."""


class PollTimer:
    """Sleeps between looks, until it is closed."""

    def __init__(self, poll_seconds: float, heartbeat_seconds: float) -> None:
        self._poll = min(poll_seconds, LONGEST)
        self._heartbeat = heartbeat_seconds - self._poll
        self._closed = asyncio.Event()
        self._spoke = time.monotonic()

    @property
    def closed(self) -> bool:
        """Whether reading is to end."""
        return self._closed.is_set()

    def close(self) -> None:
        """Reading is to end; again is harmless."""
        self._closed.set()

    def spoke(self) -> None:
        """A batch was given."""
        self._spoke = time.monotonic()

    def is_due(self) -> bool:
        """Whether a heartbeat is."""
        return time.monotonic() - self._spoke >= self._heartbeat

    async def wait(self) -> None:
        """Until the next look."""
        with suppress(TimeoutError):  # `wait_for` of Python 3.11 may swallow a cancellation
            async with asyncio.timeout(self._poll):
                await self._closed.wait()
