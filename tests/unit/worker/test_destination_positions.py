"""Who may claim a partition: later generations and incarnations of the group, never who is late (invariant 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.errors import Fenced
from clearwell.testing.destination_events import SIMPLE
from clearwell.worker.destination_positions import DestinationPositions
from clearwell.worker.destination_thread import DestinationThread
from clearwell.worker.topic_identity import TopicIdentity

PLACE = TP("clean.s.v1", 0)
Committed = Mapping[TP, OffsetAndMetadata | None]


class Group:
    """What Kafka knows of a group; a commit of another generation than the present one is refused."""

    def __init__(self) -> None:
        self.generation = 1
        self.committed: dict[TP, OffsetAndMetadata | None] = {PLACE: None}

    def commit_of(self, generation: int):  # type: ignore[no-untyped-def]
        async def commit(offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
            if generation == self.generation:
                self.committed.update(offsets)
            return generation == self.generation

        return commit


def member(rows: MemoryStore, now: float) -> DestinationPositions:
    destination = MemoryDestination(rows, SIMPLE, "deliverer.s.v1.memory")
    return DestinationPositions(
        DestinationThread(destination), TopicIdentity(PLACE.topic, lambda: "t" * 22), lambda: now
    )


async def join(
    group: Group, positions: DestinationPositions, generation: int, committed: Committed | None = None
) -> int:
    """The epoch that a member gets, which read `committed` before (else what is committed now)."""
    await positions.start(dict(committed or group.committed), generation, group.commit_of(generation))
    return positions.claims[0].epoch if positions.claims else -1


def test_a_group_that_kafka_has_forgotten_begins_again() -> None:
    async def scene() -> None:
        rows, group = MemoryStore(), Group()
        group.generation = 5
        assert await join(group, member(rows, 1.8e9), 5) == 1
        forgotten = Group()  # a week later: no commits, and generations from 1
        assert await join(forgotten, member(rows, 1.8e9 + 700_000), 1) == 2
        forgotten.generation = 2
        assert await join(forgotten, member(rows, 1.8e9), 2) == 3, "who comes later counts on, whatever its clock says"

    asyncio.run(scene())


def test_a_late_member_of_a_new_group_is_fenced_whatever_its_clock_says() -> None:
    async def scene() -> None:
        rows, group = MemoryStore(), Group()
        before = dict(group.committed)
        zombie = member(rows, 1.9e9)
        read = dict(before)
        assert await group.commit_of(1)({PLACE: OffsetAndMetadata(0, f"{'t' * 22} {100}")})  # its own commit, in time
        group.generation = 2
        assert await join(group, member(rows, 1.8e9), 2) == 1
        assert await join(group, zombie, 1, read) == -1, "its commit comes too late, so it claims nothing"
        with pytest.raises(Fenced):
            await join(group, member(rows, 1.9e9), 1)

    asyncio.run(scene())


def test_groups_of_before_keep_their_generations() -> None:
    async def scene() -> None:
        rows, group = MemoryStore(), Group()
        group.committed = {PLACE: OffsetAndMetadata(40, "t" * 22)}
        group.generation = 7
        assert await join(group, member(rows, 1.8e9), 7) == 1
        with pytest.raises(Fenced, match=r"than generation 6, as the memory store says.*--delete --group deliverer"):
            await join(group, member(rows, 1.8e9), 6)

    asyncio.run(scene())
