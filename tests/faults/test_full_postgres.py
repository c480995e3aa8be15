"""A PostgreSQL whose disk is really full while it is written: waited for, with one clear sentence; nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from clearwell.registry import migrate
from clearwell.settings import Settings
from tests.support.noise import CONTRACT, FEW, MANY, ROOM, assert_once, put
from tests.support.own_postgres import own_postgres
from tests.support.platform import Platform, until
from tests.support.refusing import accounts_of, ids_in_postgres, letters
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.superuser import superuser

pytestmark = pytest.mark.slow


@contextmanager
def tablespace(settings: Settings, folder: Path) -> Iterator[str]:
    """Its name; `folder` is made, and given to the server's user."""
    folder.mkdir()
    server = (settings.home / "postgres").stat()
    if os.geteuid() == 0:
        os.chown(folder, server.st_uid, server.st_gid)
    name = f"small_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(superuser(settings), autocommit=True, options="-c lock_timeout=9000") as session:
        session.execute(SQL("CREATE TABLESPACE {} LOCATION {}").format(Identifier(name), str(folder)))
        session.execute(SQL("GRANT CREATE ON TABLESPACE {} TO clearwell").format(Identifier(name)))
        try:
            yield name
        finally:  # also where the test failed: others use the server after it
            session.execute(SQL("ALTER TABLE ALL IN TABLESPACE {} SET TABLESPACE pg_default").format(Identifier(name)))
            session.execute(SQL("DROP TABLESPACE {}").format(Identifier(name)))


@contextmanager
def entered_by_all() -> Iterator[Path]:
    """A folder that the server's user may pass through, as pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="clearwell-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with entered_by_all() as folder, small_disk(folder / "disk", 20) as one:
        one.fill(leave=ROOM)
        yield one


def test_the_disk_of_a_table(platform_of: Callable[[str], Platform], disk: SmallDisk) -> None:
    """PostgreSQL itself has room, the disk of the table has none: SQLSTATE 53100, disk_full."""
    platform = platform_of(CONTRACT)
    table, postgres = Identifier(platform.stream), platform.settings.postgres
    service = platform.start("deliverer", "--destination", "postgres")
    there = ("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (platform.stream,))
    with (
        tablespace(platform.settings, disk.folder / "tables") as small,
        psycopg.connect(postgres, autocommit=True) as session,
    ):
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


@pytest.mark.parametrize(("full", "ends"), [("postgres", False), ("postgres/pg_wal", True)])
def test_the_disk_of_a_server(
    stack: Settings, unique: Callable[[str], str], tmp_path: Path, full: str, ends: bool
) -> None:
    """One that can't write its own log ends at a commit; started again when there is room, all it promised is there."""
    home, large = tmp_path / "home", {"max_wal_size": "4GB"}
    with own_postgres(home, large) as address:
        migrate(address)
    port = urlsplit(address).port or 0
    with (
        entered_by_all() as folder,
        small_disk(folder / "disk", 160) as disk,
        platform_with(stack, address, tmp_path, unique) as platform,
    ):
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
