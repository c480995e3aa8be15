"""Lanes give back the room of every batch, also of one whose partition goes to another member in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from clearwell.worker.partition_processor import IN_FLIGHT, MOST_RECORDS, FetchedBatch, PartitionProcessor


@dataclass
class Work:
    """Hangs where it is told to; `handled` are the partitions whose batches were taken up."""

    hang_in_handle: bool = False
    durable: asyncio.Event = field(default_factory=asyncio.Event)
    handled: list[int] = field(default_factory=list)

    async def begin(self, partition: int, first: int, generation: int) -> None: ...

    async def skip(self, partition: int, expected: int, first: int) -> None: ...

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        self.handled.append(fetched.partition)
        if self.hang_in_handle:
            await asyncio.Event().wait()

        async def wait() -> None:
            await self.durable.wait()

        return wait()


class Stream:
    """What Faust gives an agent: batches of one partition, together as large as all the room."""

    def __init__(self, partition: int, acked: list[int], slices: int = 1) -> None:
        self._events = []
        for number in range(slices):
            first, size = number * MOST_RECORDS, MOST_RECORDS // slices
            records = [SimpleNamespace(offset=first + offset, timestamp=0) for offset in range(size)]
            message = SimpleNamespace(partition=partition, generation_id=1, value=records)
            self._events.append(SimpleNamespace(message=message, ack=lambda: acked.append(partition)))

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Any]:
        for one in self._events:
            yield one


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("where", ["in handle", "waiting for room"])
def test_a_cancelled_agent_leaves_its_room_to_the_others(where: str) -> None:
    async def scene() -> None:
        failures: list[BaseException] = []
        acked: list[int] = []
        work = Work(hang_in_handle=where == "in handle")
        processor = PartitionProcessor(work, failures.append)
        if where == "waiting for room":
            await processor.run(Stream(0, acked))
        revoked = asyncio.create_task(processor.run(Stream(1, acked)))
        await _settle()
        assert work.handled == ([1] if work.hang_in_handle else [0])
        revoked.cancel()
        await asyncio.gather(revoked, return_exceptions=True)
        work.hang_in_handle = False
        work.durable.set()
        await asyncio.wait_for(processor.run(Stream(2, acked)), 5)
        await _settle()
        assert acked == ([2] if where == "in handle" else [0, 2])
        assert failures == []

    asyncio.run(scene())


def test_a_cancelled_agent_whose_lane_is_full_leaves_its_room_too() -> None:
    """Who waits for a task and is cancelled cancels the task."""

    async def scene() -> None:
        acked: list[int] = []
        work = Work()
        processor = PartitionProcessor(work, lambda error: None)
        revoked = asyncio.create_task(processor.run(Stream(1, acked, IN_FLIGHT)))
        await _settle()
        assert work.handled == [1] * IN_FLIGHT
        revoked.cancel()
        await asyncio.gather(revoked, return_exceptions=True)
        work.durable.set()
        await asyncio.wait_for(processor.run(Stream(2, acked)), 5)
        await _settle()
        assert acked == [1] * (IN_FLIGHT - 1) + [2]

    asyncio.run(scene())


def test_what_waits_for_durability_keeps_the_next_slice_out() -> None:
    async def scene() -> None:
        acked: list[int] = []
        work = Work()
        processor = PartitionProcessor(work, lambda error: None)
        await processor.run(Stream(0, acked))
        other = asyncio.create_task(processor.run(Stream(1, acked)))
        await _settle()
        assert work.handled == [0] and acked == []
        work.durable.set()
        await asyncio.wait_for(other, 5)
        await _settle()
        assert work.handled == [0, 1] and acked == [0, 1]

    asyncio.run(scene())
