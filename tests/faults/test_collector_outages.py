"""Kafka or Postgres go away while a connector is read: it waits, says so, and nothing is lost."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from clearwell.local import stack as embedded
from clearwell.registry import State
from clearwell.settings import Settings
from tests.support.collecting import Sandbox, header, until
from tests.support.collectors import Process

EVENTS = 60_000


@pytest.fixture
def sandbox(stack: Settings, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Sandbox]:
    """A stream of its own on the test stack."""
    made = Sandbox(stack, unique("outage"), tmp_path)
    yield made
    made.close()


def kafka_killed(sandbox: Sandbox) -> None:
    """SIGKILL Kafka and wait for its next life."""
    embedded.restart(sandbox.settings.home, "kafka", signal.SIGKILL)


def postgres_killed(sandbox: Sandbox) -> None:
    """SIGKILL Postgres and wait for its next life."""
    embedded.restart(sandbox.settings.home, "postgres", signal.SIGKILL)


def connections_terminated(sandbox: Sandbox) -> None:
    """End every other connection to Postgres, again and again."""
    query = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where pid <> pg_backend_pid() and datname = %s"
    )
    with psycopg.connect(sandbox.settings.postgres, autocommit=True) as connection:
        ended = 0
        for _ in range(20):
            (count,) = connection.execute(query, (connection.info.dbname,)).fetchone() or (0,)
            ended += count
            connection.execute("select pg_sleep(0.02)")
    assert ended > 0


@pytest.mark.slow
@pytest.mark.parametrize("outage", [kafka_killed, postgres_killed, connections_terminated])
def test_nothing_is_lost(sandbox: Sandbox, unique: Callable[[str], str], outage: Callable[[Sandbox], None]) -> None:
    path = sandbox.folder / "in.ndjson"
    path.write_bytes(
        b"".join(b'{"id":"k%d","at":"2026-01-01T00:00:00Z","n":%d}\n' % (n % 500, n) for n in range(EVENTS))
    )
    name = sandbox.add(unique("c"), path=str(path), batch_events=200)
    collector = Process(sandbox, [name])
    try:
        until(lambda: sandbox.state(name)[1].events > 5_000)
        outage(sandbox)
        assert sandbox.state(name)[0].state is State.RUNNING, "the outage came too late: give it more events"
        until(lambda: sandbox.state(name)[0].state is State.FINISHED, 90)
        collector.process.terminate()
        assert collector.process.wait(20) == 0
    finally:
        collector.end()
    assert not collector.said("Traceback")
    connector, saved = sandbox.state(name)
    assert (connector.last_error, saved.events) == (None, EVENTS)
    seen: Counter[str | None] = Counter(header(record, "ce_id") for record in sandbox.new_records())
    assert len(seen) == EVENTS
