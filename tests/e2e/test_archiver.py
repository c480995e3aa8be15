"""The archiver as a process: every raw event once in the archive, whatever is killed, and `check` proves it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deltalake import DeltaTable

from clearwell.destinations.lake.root import Root, TableLocation
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import raw_topic
from clearwell.reconciliation.archive import check_archive
from tests.support.archives import opened, rows_in
from tests.support.killing import KILLS
from tests.support.platform import PARTITIONS, Platform, Service, numbered, until

pytestmark = pytest.mark.slow


@pytest.fixture
def archived(platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """A stream whose contract archives it."""
    text = platform.contract_file.read_text()
    platform.contract_file.write_text(text.replace("routes:\n", "routes:\n  - {to: archive}\n"))
    yield platform


def start(platform: Platform, **env: str) -> Service:
    """An archiver into the test's own folder, which commits soon and compacts often."""
    pace = {"CLEARWELL_LAKE_COMMIT_SECONDS": "0.1", "CLEARWELL_LAKE_COMPACT_EVERY": "7"}
    return platform.start("archiver", CLEARWELL_LAKE=str(lake(platform)), **pace, **env)


def lake(platform: Platform) -> Path:
    """The lake of a test."""
    return platform.folder / "lake"


def table(platform: Platform) -> Path:
    """The archive in it."""
    return lake(platform) / "archive" / platform.stream


def test_every_raw_event_opens_again_as_it_was(archived: Platform) -> None:
    records = [
        (b'{"id": 1}', [("ce_id", b"1"), ("content-type", b"application/json")], 0),
        (b"{broken", [("ce_id", b"2")], 1),
        (b"\xff\x00", [], 2),
        (None, [("ce_id", b"\xff")], 3),
    ]
    archived.append(raw_topic(archived.stream), records)
    start(archived)
    until(lambda: len(rows_in(table(archived))) == len(records))
    found = opened(archived.keyring, archived.stream, rows_in(table(archived)))
    topic = archived.ids[raw_topic(archived.stream)]
    assert {place: (one.value, one.headers) for place, one in found.items()} == {
        (topic, partition, 0): (value, headers) for value, headers, partition in records
    }
    assert found[topic, 3, 0].key == b"k"


def test_killed_again_and_again(archived: Platform) -> None:
    dice = random.Random(11)
    sent: list[bytes] = []
    for _ in range(KILLS):
        more = list(numbered(3_000, start=len(sent)))
        archived.put(more)
        sent += more
        service = start(archived, CLEARWELL_WORKER="w")
        until(lambda: "starts at offset" in service.text())  # noqa: B023 - called at once
        time.sleep(dice.uniform(0, 0.5))
        service.kill()
    service = start(archived, CLEARWELL_WORKER="w")
    until(lambda: len(rows_in(table(archived))) >= len(sent))
    found = opened(archived.keyring, archived.stream, rows_in(table(archived)))
    assert sorted(one.value or b"" for one in found.values()) == sorted(sent)
    assert service.stop() == 0
    root = Root(TableLocation(str(lake(archived))))
    checked = check_archive(KafkaLog(archived.settings.kafka), root, archived.stream, "archive")
    assert all(one.balanced and one.waiting == 0 and one.older == 0 for one in checked)
    assert sum(one.archived for one in checked) == len(sent)
    lost = DeltaTable(str(table(archived))).delete("_raw_partition = 1 AND _raw_offset % 10 = 3")["num_deleted_rows"]
    checked = check_archive(KafkaLog(archived.settings.kafka), root, archived.stream, "archive")
    assert [one.missing for one in checked] == [0, lost, 0, 0]


def test_a_route_is_needed(platform: Platform) -> None:
    service = start(platform)
    assert service.ended() == 2
    assert "has no route to archive." in service.text()
    assert PARTITIONS and "Traceback" not in service.text()
