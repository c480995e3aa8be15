"""A destination's thread keeps the order of its calls, and does nothing more once one of them has failed."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.testing.destination_events import SIMPLE
from clearwell.worker.destination_thread import DestinationThread


def test_what_is_queued_behind_a_call_that_failed_is_not_done() -> None:
    """A later batch would move the position past the one that was not written: its events would be lost."""
    written: list[int] = []

    def fail() -> None:
        raise TypeError("unexpected")

    async def scene() -> None:
        calls = [thread.call(fail), thread.call(lambda: written.append(2))]
        for call in calls:
            with pytest.raises(TypeError):
                await call

    with closing(DestinationThread(MemoryDestination(MemoryStore(), SIMPLE, "group"))) as thread:
        asyncio.run(scene())
    assert written == []
