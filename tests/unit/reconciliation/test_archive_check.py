"""Does an archive add up, also where the raw log lost its end and its offsets were given to other events?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from clearwell.destinations.lake.archive import Archive, RawRange
from clearwell.destinations.lake.root import TableLocation
from clearwell.kafka.lineage import branch_id
from clearwell.kafka.log_client import RangeReader
from clearwell.privacy.key_file import LocalKeyring
from clearwell.reconciliation.archive import ArchivedOffsets, PartitionArchive, check_partition
from clearwell.worker.positions import CommitNote
from tests.unit.destinations.test_archive import TOPIC, Record

GROUP = "archive.flights"
FIRST, SECOND = branch_id(TOPIC, 2), branch_id(TOPIC, 4)


class Log:
    """A raw partition: records from `first` to `last`."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._end = first, last + 1

    async def begin(self, topic: str, partition: int) -> int:
        return self._first

    async def end(self, topic: str, partition: int) -> int:
        return self._end

    async def records(self, topic: str, partition: int, start: int, end: int) -> AsyncIterator[list[Any]]:
        yield [Record(offset) for offset in range(max(start, self._first), min(end, self._end))]


@pytest.fixture
def place(tmp_path: Path) -> TableLocation:
    return TableLocation(str(tmp_path / "archive"))


@pytest.fixture
def archive(tmp_path: Path, place: TableLocation) -> Archive:
    made = Archive(place, "flights", LocalKeyring.create(tmp_path / "keys.json"), GROUP)
    made.open()
    return made


def put(archive: Archive, origin: str, first: int, end: int, lacking: int = -1) -> None:
    """As the archiver does: a position that begins where a branch does jumps there."""
    records = [Record(offset) for offset in range(first, end) if offset != lacking]
    archive.write([RawRange(origin, 0, archive.next_offset(origin, 0), end, records)])


def check(place: TableLocation, log: Log, *branches: tuple[str, int]) -> PartitionArchive:
    return asyncio.run(
        check_partition(
            cast(RangeReader, log), "raw.flights", 0, ArchivedOffsets(place, GROUP), CommitNote(TOPIC, 4, 9, branches)
        )
    )


def test_an_archive_of_one_log(place: TableLocation, archive: Archive) -> None:
    put(archive, TOPIC, 0, 100, lacking=40)
    found = check(place, Log(20, 109))
    assert (found.first, found.next, found.archived, found.missing, found.older) == (20, 100, 99, 1, 20)
    assert (found.doubled, found.waiting, found.outlived, found.balanced) == (0, 10, 0, False)


def test_a_log_that_parted_and_is_not_read_yet(place: TableLocation, archive: Archive) -> None:
    put(archive, TOPIC, 0, 100)
    found = check(place, Log(0, 149), (FIRST, 70))
    assert (found.next, found.archived, found.outlived, found.waiting) == (70, 70, 30, 80)
    assert (found.missing, found.doubled, found.balanced) == (0, 0, True)


def test_what_took_the_place_of_lost_events_is_looked_for(place: TableLocation, archive: Archive) -> None:
    put(archive, TOPIC, 0, 100)
    put(archive, FIRST, 70, 150, lacking=80)
    found = check(place, Log(0, 149), (FIRST, 70))
    assert (found.next, found.archived, found.outlived, found.waiting) == (150, 149, 30, 0)
    assert (found.missing, found.balanced) == (1, False), "a lost event at 80 is not the one that is there now"


def test_a_log_that_parted_twice(place: TableLocation, archive: Archive) -> None:
    put(archive, TOPIC, 0, 100)
    put(archive, FIRST, 70, 150)
    put(archive, SECOND, 60, 110)
    found = check(place, Log(0, 109), (FIRST, 70), (SECOND, 60))
    assert (found.archived, found.outlived, found.missing, found.doubled, found.waiting) == (110, 120, 0, 0, 0)
    assert found.balanced
