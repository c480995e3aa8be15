"""A disk that is really full while a store is written: waited for, with one clear sentence, and nothing is lost."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pyarrow.parquet as parquet
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.local import child
from clearwell.registry import Registry, destinations, migrate
from clearwell.settings import Settings
from tests.support.archives import opened, rows_in
from tests.support.own_postgres import own_postgres
from tests.support.platform import Platform, until
from tests.support.refusing import accounts_of, ids_in_postgres, letters
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.views import ids

pytestmark = pytest.mark.slow

CONTRACT = """
stream: $stream
version: 1
owner: tests@example.com
description: Notes that nothing can compress.
key: id
event_id: id
event_time: at
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  note: {type: string, required: true, max_length: 5000}
routes:
  - {to: postgres}
  - {to: lake}
  - {to: archive}
  - {to: files.$stream}
  - to: features.$stream
    entity: id
    features: {last_note: note}
"""

MEGABYTES = 20
ROOM = 2_000_000
"""Bytes that are free at first; all events together are some six megabytes."""
FEW, MANY = 200, 1_500
NOTE = 3_000
"""Bytes of noise in a note."""


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


def put(platform: Platform, count: int, start: int = 0) -> set[str]:
    """Events with notes of noise into partition 0; their ids."""
    dice = random.Random(start)
    events = [
        {"id": f"e{n}", "at": "2013-01-01T00:00:00Z", "note": base64.b64encode(dice.randbytes(NOTE)).decode()}
        for n in range(start, start + count)
    ]
    platform.put([json.dumps(event).encode() for event in events], partition=0)
    return {str(event["id"]) for event in events}


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


def assert_once(held: Counter[str], sent: set[str], whole: bool) -> None:
    assert set(held) == sent if whole else FEW <= len(held) < len(sent)
    assert set(held.values()) == {1}


@contextmanager
def tablespace(postgres: str, folder: Path) -> Iterator[str]:
    """Its name; `folder` is made, and given to the server's user."""
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, child.NOBODY, child.NOBODY)
    name = f"small_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres, autocommit=True) as session:
        session.execute(SQL("CREATE TABLESPACE {} LOCATION {}").format(Identifier(name), str(folder)))
        yield name
        session.execute(SQL("DROP TABLESPACE {}").format(Identifier(name)))


def test_of_a_table(platform: Platform, disk: SmallDisk) -> None:
    """PostgreSQL itself has room, the disk of the table has none: SQLSTATE 53100, disk_full."""
    table, postgres = Identifier(platform.stream), platform.settings.postgres
    service = platform.start("deliverer", "--destination", "postgres")
    there = ("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (platform.stream,))
    with tablespace(postgres, disk.folder / "tables") as small, psycopg.connect(postgres, autocommit=True) as session:
        until(lambda: session.execute(*there).fetchone() == (True,))
        session.execute(SQL("ALTER TABLE {} SET TABLESPACE {}").format(table, Identifier(small)))
        platform.start("cleaner")
        sent = put(platform, FEW)
        until(lambda: set(ids_in_postgres(platform)) == sent)
        sent |= put(platform, MANY, start=FEW)
        until(lambda: service.text().count("has no space left on its disk (DiskFull, SQLSTATE 53100)") >= 3)
        assert_once(ids_in_postgres(platform), sent, whole=False)
        disk.make_room()
        until(lambda: set(ids_in_postgres(platform)) == sent)
        assert service.stop() == 0
        assert accounts_of(platform, "postgres").delivered == len(sent)
        assert letters(platform) == [], "that is no fault of the events"
        session.execute(SQL("DROP TABLE {}").format(table))


@pytest.mark.parametrize(("full", "ends"), [("postgres", False), ("postgres/pg_wal", True)])
def test_of_a_server(stack: Settings, unique: Callable[[str], str], tmp_path: Path, full: str, ends: bool) -> None:
    """One that can't write its own log ends at a commit; started again when there is room, all it promised is there."""
    home, large = tmp_path / "home", {"max_wal_size": "4GB"}
    with own_postgres(home, large) as address:
        migrate(address)
    port = urlsplit(address).port or 0
    with small_disk(tmp_path / "disk", 160) as disk, platform_with(stack, address, tmp_path, unique) as platform:
        move(home / full, disk.folder / "moved")
        with own_postgres(home, large, port):
            service = platform.start("deliverer", "--destination", "postgres")
            platform.start("cleaner")
            sent = put(platform, FEW)
            until(lambda: set(ids_in_postgres(platform)) == sent)
            disk.fill(leave=ROOM)
            for at in range(4):
                sent |= put(platform, MANY, start=FEW + at * MANY)
            until(lambda: "has no space left on its disk (DiskFull, SQLSTATE 53100)" in service.text())
            if ends:
                until(lambda: "does not answer: start it, or correct its URL." in service.text())
        disk.make_room()
        with own_postgres(home, large, port):
            until(lambda: set(ids_in_postgres(platform)) == sent)
            found = accounts_of(platform, "postgres")
            assert (found.delivered, found.repeats, found.refused) == (len(sent), 0, 0)
            assert "Traceback" not in service.text()
            assert service.stop() == 0


@contextmanager
def platform_with(stack: Settings, postgres: str, folder: Path, unique: Callable[[str], str]) -> Iterator[Platform]:
    """Of another Postgres."""
    one = Platform(replace(stack, postgres=postgres), folder / "platform", unique("stream"), CONTRACT)
    try:
        yield one
    finally:
        one.close()


def move(folder: Path, to: Path) -> None:
    """With all its rights, and a link to it left behind."""
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)
    shutil.rmtree(folder)
    folder.symlink_to(to)
