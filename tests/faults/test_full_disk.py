"""A disk that is really full while a store is written: waited for, with one clear sentence, and nothing is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from clearwell.destinations.sql.destination import SqlConfig, SqlDestination
from clearwell.errors import Retryable
from clearwell.registry import Registry, destinations, migrate
from clearwell.settings import Settings
from clearwell.testing.destination_cases import told
from clearwell.testing.destination_events import SIMPLE, START, TOPIC, CleanEvent, batch_of
from tests.support.archives import opened, rows_in
from tests.support.noise import CONTRACT, FEW, MANY, NOTE, ROOM, assert_once, put
from tests.support.platform import Platform, until
from tests.support.refusing import accounts_of, letters
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.views import ids

pytestmark = pytest.mark.slow

MEGABYTES = 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", MEGABYTES) as one:
        one.fill(leave=ROOM)
        yield one


@pytest.fixture
def platform(stack: Settings, disk: SmallDisk, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Platform]:
    """Whose lake, files and histories are on the disk."""
    on_disk = replace(stack, lake=str(disk.folder), offline=str(disk.folder))
    one = Platform(on_disk, tmp_path / "platform", unique("stream"), CONTRACT)
    migrate(stack.postgres)
    with closing(Registry(stack.postgres)) as registry, registry.session() as session:
        destinations.add(session, "files", one.stream, {"url": str(disk.folder)})
    yield one
    one.close()
    with closing(Registry(stack.postgres)) as registry, registry.session() as session:
        destinations.remove(session, "files", one.stream)


def in_lake(platform: Platform) -> Counter[str]:
    return Counter(row["id"] for row in rows_in(f"{platform.settings.lake}/lake/{platform.stream}_v1"))


def in_archive(platform: Platform) -> Counter[str]:
    rows = rows_in(f"{platform.settings.lake}/archive/{platform.stream}")
    found = opened(platform.keyring, platform.stream, rows)
    return Counter(json.loads(one.value or b"")["id"] for one in found.values())


def in_files(platform: Platform) -> Counter[str]:
    """As a reader of the folder finds them, who passes over names with a dot."""
    folder = Path(str(platform.settings.lake), f"{platform.stream}_v1")
    files = [one for one in folder.rglob("*.parquet") if not one.name.startswith(".")]
    return Counter(id_ for one in files for id_ in parquet.read_table(one)["id"].to_pylist())


def in_history(platform: Platform) -> Counter[str]:
    return Counter(ids(platform))


READ: dict[str, Callable[[Platform], Counter[str]]] = {
    "lake": in_lake,
    "archive": in_archive,
    "files.$stream": in_files,
    "features.$stream": in_history,
}


@pytest.mark.parametrize("to", READ)
def test_of_a_folder(platform: Platform, disk: SmallDisk, to: str) -> None:
    read, to = READ[to], to.replace("$stream", platform.stream)
    soon = {"CLEARWELL_LAKE_COMMIT_SECONDS": "0.1"}
    if to == "archive":
        service = platform.start("archiver", **soon)
    else:
        platform.start("cleaner")
        service = platform.start("deliverer", "--destination", to, **soon)
    sent = put(platform, FEW)
    until(lambda: "starts at offset" in service.text())
    until(lambda: set(read(platform)) == sent)
    sent |= put(platform, MANY, start=FEW)
    until(lambda: service.text().lower().count("there is no space left") >= 3)
    assert_once(read(platform), sent, whole=False)
    disk.make_room()
    until(lambda: set(read(platform)) == sent)
    assert_once(read(platform), sent, whole=True)
    assert "Traceback" not in service.text()
    assert service.stop() == 0
    if to != "archive":
        assert accounts_of(platform, to).delivered == len(sent)
        assert letters(platform) == [], "that is no fault of the events"


def test_of_a_database_in_a_file(disk: SmallDisk) -> None:
    """SQLite by the destination `sql`: Retryable while it is full; the same batch goes in, once, when there is room."""
    made = SqlDestination(SqlConfig(url=f"sqlite:///{disk.folder}/notes.db"), SIMPLE, "notes", "group")
    with closing(made):
        made.open()
        claim = made.claim(TOPIC, 0, 1)
        events = [CleanEvent(f"k{n}", START, n, raw_offset=n) for n in range(MANY)]
        rows = [(*event.row[:3], "x" * NOTE) for event in events]
        batch = batch_of(events, claim, MANY, rows=rows)
        for _ in range(3):
            with told("a full disk", (), Retryable) as error:
                made.write(batch)
            assert "has no space left on its disk (SQLITE_FULL)" in str(error.error)
        disk.make_room()
        made.write(batch)
        assert made.row_count() == MANY
        assert [one.delivered for one in made.accounts(TOPIC)] == [MANY]
