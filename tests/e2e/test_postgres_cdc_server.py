"""`postgres_cdc` on servers that are not set up for it, that threw its log away, and that speak TLS alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from clearwell.errors import ConfigError
from clearwell.settings import Settings
from tests.support.cdc_database import Database
from tests.support.own_postgres import own_postgres
from tests.support.secure_kafka import certificate
from tests.support.tls_gate import tls_gate

pytestmark = pytest.mark.slow


def test_a_server_that_does_not_decode_its_log_is_told(tmp_path: Path) -> None:
    """wal_level = replica, the default of PostgreSQL: by `check`, before anything is made."""
    with own_postgres(tmp_path / "pg", {"wal_level": "replica"}) as address:
        database = Database(address, "cdc")
        database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
        with pytest.raises(ConfigError, match="has wal_level = replica: set wal_level = logical and restart"):
            database.source().check()
        assert database.run("SELECT 1 FROM pg_publication") == []
        database.session.close()


def test_a_slot_whose_log_was_thrown_away_is_told_and_a_reset_reads_all_rows_again(tmp_path: Path) -> None:
    """Nothing is lost in silence: reading ends with what to do, and doing it gives every row."""
    small = {"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    with own_postgres(tmp_path / "pg", small) as address:
        database = Database(address, "cdc")
        database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
        start = database.begin()
        database.run("INSERT INTO TABLE_ SELECT generate_series(1, 10)")
        for _ in range(40):  # a segment of 16 MB each, until the server gives the slot up
            database.run("SELECT pg_switch_wal()")
            database.run("SELECT pg_logical_emit_message(false, 'x', 'y')")
            database.run("CHECKPOINT")
            if database.run("SELECT wal_status FROM pg_replication_slots") == [("lost",)]:
                break
        else:
            pytest.fail("the slot was not lost")
        told = "has thrown away the log that the replication slot cdc needed.*Reset the connector"
        with pytest.raises(ConfigError, match=told):
            database.changes(start, 1)
        with pytest.raises(ConfigError, match=told):
            database.source().check()

        database.source().dispose()  # what `clearwell connector reset` does
        assert {row["n"] for row in database.changes(None, 10)} == set(range(1, 11))
        database.close()


def test_tls_and_what_goes_wrong_with_it(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> None:
    """Snapshot and stream go through a checked TLS connection; a server that can't be trusted is told, not used."""
    ca, server = certificate(tmp_path)
    parts = make_url(stack.postgres)
    with tls_gate(parts.port or 0, server) as gate:
        bare = parts.set(port=gate.port).render_as_string(hide_password=False)
        database = Database(f"{bare}?sslmode=verify-full&sslrootcert={ca}", unique("cdc"))
        database.run("CREATE TABLE TABLE_ (n integer PRIMARY KEY)")
        database.source().check()
        start = database.begin()
        database.run("INSERT INTO TABLE_ VALUES (1), (2)")
        assert [row["n"] for row in database.changes(start, 2)] == [1, 2]
        assert gate.sessions >= 5  # ours, the check's two, and each reading's

        before = gate.sessions
        other, _ = certificate(tmp_path / "other")
        for wrong in (f"?sslmode=verify-full&sslrootcert={other}", f"?sslmode=verify-ca&sslrootcert={other}"):
            source = database.source(url=bare + wrong)
            for doing in (source.check, lambda: asyncio.run(anext(source.read(start)))):  # noqa: B023 - called at once
                with pytest.raises(ConfigError, match="can't agree on TLS: check sslmode and the certificates") as told:
                    doing()
                assert str(parts.password) not in str(told.value)
        assert gate.sessions == before
        database.close()
