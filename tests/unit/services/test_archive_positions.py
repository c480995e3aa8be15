"""Where an archiver begins: where the archive says, while raw is the same log; after a realign, where that parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.destinations.lake.archive import Archive, RawRange
from clearwell.destinations.lake.root import TableLocation
from clearwell.kafka.admin import TopicNow
from clearwell.kafka.lineage import Lineage, Parted, branch_id, way_out
from clearwell.privacy.key_file import LocalKeyring
from clearwell.worker.archive_positions import ArchivePositions
from clearwell.worker.archive_writer import ArchiveWriter
from clearwell.worker.positions import CommitNote
from clearwell.worker.topic_identity import TopicIdentity
from tests.unit.destinations.test_archive import TOPIC, Record
from tests.unit.kafka.test_lineage import Broker, at_end

PLACE = TP("raw.s", 0)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty one."""
    made = Archive(
        TableLocation(str(tmp_path / "archive")), "s", LocalKeyring.create(tmp_path / "keys.json"), "archive.s"
    )
    made.open()
    return made


def positions(archive: Archive, broker: Broker) -> ArchivePositions:
    def ask() -> str:
        now = TopicNow(TOPIC)
        now.epochs = {0: broker.epoch}
        return now

    return ArchivePositions(
        ArchiveWriter(archive, 0), TopicIdentity(PLACE.topic, ask, Lineage(broker.log(), way_out("s")))
    )


def begin(made: ArchivePositions, offset: int, note: CommitNote) -> int:
    """The offset that a partition begins at, where the group has committed this."""

    async def commit(offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
        return True

    return asyncio.run(made.start({PLACE: OffsetAndMetadata(offset, str(note))}, 1, commit))[PLACE]


def put(archive: Archive, origin: str, first: int, end: int) -> None:
    archive.write([RawRange(origin, 0, archive.next_offset(origin, 0), end, [Record(n) for n in range(first, end)])])


def test_a_log_that_went_back_stops_the_archiver_until_it_is_realigned(archive: Archive) -> None:
    broker = Broker()
    broker.append(100)
    read = at_end(broker)
    put(archive, TOPIC, 0, 100)
    assert begin(positions(archive, broker), 100, CommitNote(TOPIC, read.epoch, read.time)) == 100
    broker.elect(lose=30)
    broker.append(80)
    with pytest.raises(Parted, match=r"offsets 70 to 99, and has .* `clearwell stream realign s` tells what is lost"):
        begin(positions(archive, broker), 100, CommitNote(TOPIC, read.epoch, read.time))

    branch = branch_id(TOPIC, broker.epoch)
    note = CommitNote(TOPIC, broker.epoch, -1, ((branch, 70),))  # as `clearwell stream realign` commits it
    made = positions(archive, broker)
    assert (begin(made, 70, note), made.origin(0)) == (70, branch)
    put(archive, branch, 70, 120)
    assert begin(positions(archive, broker), 70, note) == 120, "killed before it committed: the archive knows"
