"""PostgreSQL at its worst: connections cut, replies lost, rights missing, rows it refuses, two owners at once."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from clearwell.contract.model import Field, Type
from clearwell.destinations.postgres import positions as postgres_positions
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.protocol import CleanBatch, RowReason, RowsRefused
from clearwell.errors import ClearwellError, ConfigError, Fenced, Retryable
from clearwell.settings import Settings
from tests.conformance.stores import (
    SIMPLE,
    START,
    Event,
    PostgresCase,
    batch_of,
    batches_of,
    expected,
    fields_of,
    reveals_nothing,
    some_events,
)

CANARY = "pw-canary-5f1e"
Unique = Callable[[str], str]


@pytest.fixture
def case(stack: Settings, unique: Unique) -> PostgresCase:
    return PostgresCase(stack, unique("events"))


@pytest.fixture
def group(unique: Unique) -> str:
    return unique("group")


@pytest.fixture
def destination(case: PostgresCase, group: str) -> Iterator[PostgresDestination]:
    made = PostgresDestination(case.dsn, SIMPLE, case.table, group)
    made.open()
    yield made
    made.close()


@pytest.fixture
def admin(stack: Settings) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(stack.postgres, autocommit=True) as session:
        yield session


def write_until_done(destination: PostgresDestination, batch: CleanBatch) -> int:
    """Write as the deliverer does; how often it had to be done again."""
    for again in range(1000):
        with contextlib.suppress(Retryable):
            destination.write(batch)
            return again
    raise AssertionError("never written")


def terminate_after(seconds: float, admin: psycopg.Connection[Any], group: str) -> None:
    threading.Event().wait(seconds)  # the random moment is the point: nothing to wait for
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
    admin.execute(kill, (f"clearwell {group}",))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_connections_terminated_at_random_moments_lose_and_repeat_nothing(
    destination: PostgresDestination, case: PostgresCase, group: str, admin: psycopg.Connection[Any], seed: int
) -> None:
    rng = random.Random(seed)
    events = some_events(rng, count=20_000, keys=6_000)
    claim = destination.claim("clean-a", 0, 1)
    repeated = 0
    with ThreadPoolExecutor(1) as pool:
        for batch in batches_of(events, claim, 400):  # a flush takes some 10 ms
            killing = pool.submit(terminate_after, rng.uniform(0, 0.02), admin, group)
            repeated += write_until_done(destination, batch)
            killing.result()
    assert repeated >= 5
    stored = fields_of(case.rows(), "id", "number", "_raw_offset")
    assert stored == [(e.id, e.number, e.raw_offset) for _, e in sorted(expected(events).items())]
    (account,) = destination.accounts("clean-a")
    assert (account.next_offset, account.delivered) == (20_000, 20_000)


class LossyProxy:
    """Passes bytes between a client and PostgreSQL, and cuts both off instead of passing the next COMMIT's reply."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.armed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, socket.create_connection(self._target) as server:
                    upward = threading.Thread(target=self._pump, args=(client, server))
                    upward.start()
                    self._pump(server, client, watch=True)
                    upward.join()

    def _pump(self, source: socket.socket, target: socket.socket, watch: bool = False) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if watch and self.armed.is_set() and b"COMMIT\0" in data:
                    self.armed.clear()
                    break
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def test_a_commit_whose_reply_is_lost_is_not_written_twice(case: PostgresCase, group: str) -> None:
    parts = conninfo_to_dict(case.dsn)
    proxy = LossyProxy(str(parts["host"]), int(str(parts["port"])))
    destination = PostgresDestination(make_conninfo(case.dsn, port=proxy.port), SIMPLE, case.table, group)
    try:
        destination.open()
        claim = destination.claim("clean-a", 0, 1)
        batch = batch_of(some_events(random.Random(3), 100, 30), claim, 104, repeats=range(4))
        proxy.armed.set()
        with pytest.raises(Retryable):
            destination.write(batch)
        before = case.rows()
        assert before  # it was committed
        destination.write(batch)
        assert case.rows() == before
        (account,) = destination.accounts("clean-a")
        assert (account.delivered, account.repeats) == (100, 4)
    finally:
        destination.close()
        proxy.close()


def wait_for_a_lock(admin: psycopg.Connection[Any], group: str) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
    for _ in range(20_000):
        if admin.execute(waiting, (f"clearwell {group}",)).fetchone():
            return
    raise AssertionError("nobody waited")


def test_a_claim_waits_for_a_commit_under_way_and_goes_on_after_it(
    destination: PostgresDestination, case: PostgresCase, group: str, admin: psycopg.Connection[Any]
) -> None:
    batch = batch_of([], destination.claim("clean-a", 0, 1), 70)
    with psycopg.connect(case.dsn) as owner, ThreadPoolExecutor(1) as pool:
        assert postgres_positions.advance(owner, group, batch)
        claiming = pool.submit(destination.claim, "clean-a", 0, 2)
        wait_for_a_lock(admin, group)
        owner.commit()
        assert claiming.result().next_offset == 70
    with pytest.raises(Fenced):
        destination.write(replace(batch, next_offset=80))


def test_a_time_limit_of_the_url_is_kept_and_passes(case: PostgresCase, group: str) -> None:
    impatient = make_conninfo(case.dsn, options="-c statement_timeout=100")
    destination = PostgresDestination(impatient, SIMPLE, case.table, group)
    destination.open()
    batch = batch_of([Event("a", START, 1, raw_offset=0)], destination.claim("clean-a", 0, 1), 1)
    with psycopg.connect(case.dsn) as holder:
        holder.execute("SELECT 1 FROM clearwell_delivery.positions WHERE group_name = %s FOR UPDATE", (group,))
        with pytest.raises(Retryable, match="QueryCanceled"):
            destination.write(batch)
        holder.rollback()
    destination.write(batch)
    assert destination.row_count() == 1
    destination.close()


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (Field("value", Type.INT32), 2**31, RowReason.OUT_OF_RANGE),
        (Field("value", Type.INT32), 2**32 + 5, RowReason.OUT_OF_RANGE),  # a binary COPY into int4 would store 5
        (Field("value", Type.INT64), 2**63, RowReason.OUT_OF_RANGE),
        (Field("value", Type.DECIMAL, precision=5, scale=2), Decimal("1234.5"), RowReason.OUT_OF_RANGE),
        (Field("value", Type.STRING), f"{CANARY}\0", RowReason.WRONG_TYPE),
        (Field("value", Type.STRING), f"{CANARY}\ud800", RowReason.WRONG_TYPE),
        (Field("value", Type.STRING), 5, RowReason.WRONG_TYPE),
        (Field("value", Type.JSON), {CANARY: "\0"}, RowReason.WRONG_TYPE),
        (Field("value", Type.LIST, items=Type.INT32), [1, 2**31], RowReason.OUT_OF_RANGE),
    ],
    ids=["int32", "int32-wraps", "int64", "decimal", "nul", "surrogate", "type", "json-nul", "list"],
)
def test_a_row_the_table_refuses_is_told_of_and_moves_nothing(
    case: PostgresCase, group: str, field: Field, value: Any, reason: RowReason
) -> None:
    schema = replace(SIMPLE, fields=(*SIMPLE.fields, field))
    destination = PostgresDestination(case.dsn, schema, case.table, group)
    destination.open()
    claim = destination.claim("clean-a", 0, 1)
    good = Event("good", START, 1, raw_offset=30)
    rows = [(*good.row, None), ("bad", START, 2, "cw1", value)]
    where = r"partition 0 of topic clean-a before offset 9 \(raw offsets 30 to 31\)"
    with pytest.raises(RowsRefused, match=where) as caught:
        destination.write(batch_of([good, replace(good, raw_offset=31)], claim, 9, rows=rows))
    assert caught.value.reason is reason
    assert reveals_nothing(caught.value, CANARY)
    assert (destination.accounts("clean-a")[0].next_offset, case.rows()) == (0, [])
    destination.write(batch_of([good], claim, 1, rows=rows[:1]))
    assert destination.row_count() == 1
    destination.close()


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"password": f"{CANARY}-wrong"}, ConfigError, "refuses the user or the password"),
        ({"user": "nobody_at_all"}, ConfigError, "refuses the user or the password"),
        ({"dbname": "no_such_database"}, ConfigError, "has no such database"),
        ({"sslmode": "require"}, ConfigError, "TLS"),
        ({"sslmode": "bogus"}, ConfigError, "option"),
        ({"host": "no-such-host.invalid"}, Retryable, "can't be found"),
        ({"port": "1"}, Retryable, "does not answer"),
    ],
    ids=["password", "user", "database", "no-tls", "option", "host", "port"],
)
def test_a_wrong_address_gives_one_clear_sentence(
    case: PostgresCase, change: dict[str, str], kind: type[ClearwellError], said: str
) -> None:
    dsn = make_conninfo(case.dsn, **change)
    password = str(conninfo_to_dict(dsn)["password"])
    destination = PostgresDestination(dsn, SIMPLE, case.table, "group")
    with pytest.raises(kind, match=said) as caught:
        destination.open()
    assert reveals_nothing(caught.value, password)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql//u:{CANARY}@h/d",
        f"postgresql://u:{CANARY}@h:1:2/d?x",
        f"host=h bogus=1 password={CANARY}",
        f"postgresql://u:x@{CANARY}@127.0.0.1:1/d",
        f"postgresql://127.0.0.1:{CANARY}/x@h/d",
        f"postgresql://127.0.0.1:1/{CANARY}@h/d",
    ],
)
def test_an_address_that_is_none_does_not_reveal_its_password(dsn: str) -> None:
    with pytest.raises(ClearwellError, match="Postgres") as caught:
        PostgresDestination(dsn, SIMPLE, "t", "group").open()
    assert reveals_nothing(caught.value, CANARY)


@pytest.fixture
def guest(case: PostgresCase, admin: psycopg.Connection[Any], unique: Unique) -> Iterator[tuple[str, str]]:
    """A role that may connect and nothing else: its name and its DSN."""
    role = unique("guest")
    admin.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(role), CANARY))
    yield role, make_conninfo(case.dsn, user=role, password=CANARY)
    admin.execute(SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(Identifier(role)))


def test_a_missing_right_is_named(
    destination: PostgresDestination,
    case: PostgresCase,
    group: str,
    admin: psycopg.Connection[Any],
    guest: tuple[str, str],
) -> None:
    role, dsn = guest
    with pytest.raises(ConfigError, match="right on schema public") as caught:
        PostgresDestination(dsn, SIMPLE, f"{case.table}_new", group).open()
    assert reveals_nothing(caught.value, CANARY)
    admin.execute(SQL("GRANT USAGE ON SCHEMA clearwell_delivery TO {}").format(Identifier(role)))
    admin.execute(SQL("GRANT ALL ON clearwell_delivery.positions TO {}").format(Identifier(role)))
    limited = PostgresDestination(dsn, SIMPLE, case.table, group)
    limited.open()  # everything is there already: nothing to create
    batch = batch_of([Event("a", START, 1, raw_offset=0)], limited.claim("clean-a", 0, 1), 1)
    with pytest.raises(ConfigError, match=f"right on table {case.table}"):
        limited.write(batch)
    admin.execute(SQL("GRANT ALL ON {} TO {}").format(Identifier(case.table), Identifier(role)))
    limited.write(batch)
    wide = replace(SIMPLE, fields=(*SIMPLE.fields, Field("gate", Type.INT32)))
    with pytest.raises(ConfigError, match=f"right on table {case.table}"):
        PostgresDestination(dsn, wide, case.table, group).open()
    limited.close()


@pytest.mark.parametrize("ddl", ["CREATE TABLE {} (id text PRIMARY KEY)", "CREATE VIEW {} AS SELECT 'x' AS id"])
def test_a_table_of_somebody_else_is_left_alone(
    case: PostgresCase, group: str, admin: psycopg.Connection[Any], ddl: Any
) -> None:
    admin.execute(SQL(ddl).format(Identifier(case.table)))
    with pytest.raises(ConfigError, match="Clearwell did not make it"):
        PostgresDestination(case.dsn, SIMPLE, case.table, group).open()


def test_many_open_and_claim_at_once(case: PostgresCase, group: str) -> None:
    def start(_: int) -> int:
        destination = PostgresDestination(case.dsn, SIMPLE, case.table, group)
        try:
            destination.open()
            return destination.claim("clean-a", 0, 1).epoch
        finally:
            destination.close()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(start, range(6))) == [1, 2, 3, 4, 5, 6]
