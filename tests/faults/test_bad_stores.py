"""A real deliverer before a store that is away, closed, changed or full: one clear sentence, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Composed, Identifier

from clearwell.registry import Registry, destinations
from clearwell.settings import Settings
from tests.support.outage import Way, way_to
from tests.support.platform import Platform, Service, until
from tests.support.refusing import CONTRACT, accounts_of, ids_in_mongo, ids_in_postgres, letters

pytestmark = pytest.mark.slow

CANARY = "pw-canary-77d0"
STRICT = CONTRACT.replace("routes:", "limits: {rejected: 5, of_last: 100}\nroutes:")
FAR = CONTRACT.replace("{to: postgres}", "{to: postgres.$stream}")


@pytest.fixture
def platform(platform_of: Callable[[str], Platform]) -> Platform:
    """Bookings; too many that a store refuses are more than five."""
    return platform_of(STRICT)


@pytest.fixture
def far(platform_of: Callable[[str], Platform]) -> Platform:
    """Bookings that go to a registered Postgres, so that the registry can be well while their destination isn't."""
    return platform_of(FAR)


@pytest.fixture
def table(platform: Platform) -> Iterator[Callable[[str], Any]]:
    """Runs a statement in which {} is the platform's table, once that is there."""
    with psycopg.connect(platform.settings.postgres, autocommit=True) as session:
        there = ("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", (platform.stream,))

        def run(statement: str) -> Any:
            until(lambda: session.execute(*there).fetchone() == (True,))
            return session.execute(_named(statement, platform.stream))

        yield run


def _named(statement: str, stream: str) -> Composed:
    return SQL(statement).format(Identifier(stream))  # type: ignore[arg-type]


def deliver(platform: Platform, to: str = "postgres", **env: str) -> Service:
    """A deliverer."""
    return platform.start("deliverer", "--destination", to, **env)


def put(platform: Platform, count: int, start: int = 0, **values: Any) -> list[str]:
    """Raw events into partition 0; their ids."""
    events = [
        {"id": f"e{n}", "at": "2026-01-01T00:00:00Z", "note": "fine"} | values for n in range(start, start + count)
    ]
    platform.put([json.dumps(event).encode() for event in events], partition=0)
    return [str(event["id"]) for event in events]


def said_once(service: Service, what: str) -> None:
    """One line tells of it, with no traceback and no secret."""
    lines = [line for line in service.text().splitlines() if " ERROR " in line]
    assert len(lines) == 1, service.text()[-2000:]
    assert what in lines[0], lines[0]
    assert "Traceback" not in service.text() and CANARY not in service.text()


@pytest.mark.parametrize("to", ["postgres", "mongo"])
def test_down_at_the_start(far: Platform, stack: Settings, to: str) -> None:
    """It is waited for, and delivered to when it comes up."""
    ids = put(far, 50)
    far.start("cleaner")
    with way_to_store(stack, to) as (way, url):
        way.shut()
        waiting = deliver_to(far, url) if to == "postgres" else deliver(far, to, CLEARWELL_MONGO=url)
        until(lambda: "does not answer: start it, or correct its URL. Trying again" in waiting.text())
        assert waiting.process.poll() is None
        way.open()
        read = ids_in_postgres if to == "postgres" else ids_in_mongo
        until(lambda: "starts at offset" in waiting.text())
        until(lambda: set(read(far)) == set(ids))
        assert "Traceback" not in waiting.text()
        assert waiting.stop() == 0


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_deliverer_that_waits_can_be_stopped(far: Platform, stack: Settings, when: str) -> None:
    with way_to_store(stack, "postgres") as (way, url):
        if when == "at the start":
            way.shut()
        waiting = deliver_to(far, url)
        far.start("cleaner")
        if when == "later":
            put(far, 5)
            until(lambda: len(ids_in_postgres(far)) == 5)
            way.shut()
            put(far, 5, start=5)
        until(lambda: "Trying again" in waiting.text())
        assert waiting.stop() == 0


def test_a_registry_that_is_away_at_the_start_is_waited_for(platform: Platform, stack: Settings) -> None:
    ids = put(platform, 50)
    platform.start("cleaner")
    with way_to_store(stack, "postgres") as (way, url):
        way.shut()
        waiting, given_up = (deliver(platform, CLEARWELL_POSTGRES=url) for _ in range(2))
        said = "is CLEARWELL_POSTGRES right? Trying again"
        until(lambda: said in waiting.text() and said in given_up.text())
        assert given_up.stop() == 0
        way.open()
        until(lambda: set(ids_in_postgres(platform)) == set(ids))
        assert "Traceback" not in waiting.text()
        assert waiting.stop() == 0


@contextmanager
def way_to_store(stack: Settings, to: str) -> Iterator[tuple[Way, str]]:
    """An open way to a store of the stack, and the URL that leads through it."""
    url = urlsplit(getattr(stack, to))
    quick = "connect_timeout=2" if to == "postgres" else "serverSelectionTimeoutMS=500"
    with way_to(url.port or 0) as way:
        through = urlunsplit(url._replace(netloc=url.netloc.replace(f":{url.port}", f":{way.port}")))
        yield way, f"{through}{'&' if url.query else '?'}{quick}"


def deliver_to(platform: Platform, url: str) -> Service:
    """A deliverer to the Postgres at `url`."""
    config = {"url": "${env:CLEARWELL_SECRET_FAR}"}
    with closing(Registry(platform.settings.postgres)) as registry, registry.session() as session:
        if destinations.find(session, "postgres", platform.stream) is None:
            destinations.add(session, "postgres", platform.stream, config)
    return deliver(platform, f"postgres.{platform.stream}", CLEARWELL_SECRET_FAR=url)


def url_with(platform: Platform, **change: str) -> str:
    """The URL of the stack's Postgres with other parts."""
    parts = conninfo_to_dict(platform.settings.postgres) | change
    return f"postgresql://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{parts['dbname']}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": CANARY, "user": "nobody_at_all"}, "refuses the user or the password"),
        ({"dbname": "no_such_database"}, "has no such database"),
    ],
    ids=["credentials", "database"],
)
def test_wrong_credentials(far: Platform, change: dict[str, str], said: str) -> None:
    service = deliver_to(far, url_with(far, **change))
    assert service.ended() == 2
    said_once(service, said)


def test_a_registry_that_refuses_ends_the_job(platform: Platform) -> None:
    service = deliver(platform, CLEARWELL_POSTGRES=url_with(platform, user="nobody_at_all", password=CANARY))
    assert service.ended() == 2
    said_once(service, "refused the connection: check user, password, database and rights")


def test_a_missing_right(far: Platform, unique: Callable[[str], str]) -> None:
    """It is named, and once it is granted everything is delivered."""
    first = deliver_to(far, far.settings.postgres)
    role = unique("guest")
    with psycopg.connect(far.settings.postgres, autocommit=True) as session:
        until(lambda: session.execute("SELECT to_regclass(%s)", (far.stream,)).fetchone() != (None,))
        first.kill()
        ids = put(far, 30)
        far.start("cleaner")
        session.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'")
        session.execute(f"GRANT USAGE ON SCHEMA clearwell_delivery TO {role}")
        session.execute(f"GRANT ALL ON clearwell_delivery.positions TO {role}")
        try:
            service = deliver_to(far, url_with(far, user=role, password=CANARY))
            assert service.ended() == 2
            said_once(service, f"grant the missing right on table {far.stream}")
            session.execute(_named(f"GRANT ALL ON {{}} TO {role}", far.stream))
            far.services.remove(service)
            deliver_to(far, url_with(far, user=role, password=CANARY))
            until(lambda: set(ids_in_postgres(far)) == set(ids))
        finally:
            session.execute(f"DROP OWNED BY {role}")
            session.execute(f"DROP ROLE {role}")


def test_a_column_dropped_under_us(platform: Platform, table: Callable[[str], Any]) -> None:
    """The process ends and says which; the next one makes the column again and delivers what waited."""
    ids = put(platform, 30)
    platform.start("cleaner")
    service = deliver(platform)
    until(lambda: set(ids_in_postgres(platform)) == set(ids))
    table("ALTER TABLE {} DROP COLUMN note")
    ids += put(platform, 30, start=100)
    assert service.ended() == 2
    said_once(service, "is not as Clearwell made it (UndefinedColumn, SQLSTATE 42703)")
    platform.services.remove(service)
    deliver(platform)
    until(lambda: set(ids_in_postgres(platform)) == set(ids))
    assert letters(platform) == [], "that is no fault of the rows"


def test_a_full_disk(platform: Platform, table: Callable[[str], Any]) -> None:
    """It is waited for in place. A trigger raises what PostgreSQL does; where one may mount, see test_full_disk.py."""
    service = deliver(platform)
    function = f"{platform.stream}_full"
    full = "BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END"
    table(f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $${full}$$")
    table(f"CREATE TRIGGER full_disk BEFORE INSERT ON {{}} FOR EACH ROW EXECUTE FUNCTION {function}()")
    ids = put(platform, 30)
    platform.start("cleaner")
    until(lambda: service.text().count("has no space left on its disk (DiskFull, SQLSTATE 53100)") >= 3)
    assert ids_in_postgres(platform) == {}
    table("DROP TRIGGER full_disk ON {}")
    until(lambda: set(ids_in_postgres(platform)) == set(ids))
    assert letters(platform) == [], "that is no fault of the rows"
    assert service.stop() == 0


def test_a_store_that_refuses_everything(platform: Platform, table: Callable[[str], Any]) -> None:
    """The stop rule ends the deliverer before the topic is in the dead letters; nothing is lost by it."""
    service = deliver(platform)
    table("ALTER TABLE {} ADD CONSTRAINT closed CHECK (note = 'nothing')")
    ids = put(platform, 200)
    platform.start("cleaner")
    for _ in range(2):  # a restart forgets nothing
        assert service.ended() == 70
        said_once(service, "more than 5 of the last 100 events were refused by postgres. Look at the dead letters")
        platform.services.remove(service)
        assert len(letters(platform)) == 5
        service = deliver(platform)
    assert service.ended() == 70
    platform.services.remove(service)
    table("ALTER TABLE {} DROP CONSTRAINT closed")
    deliver(platform)
    until(lambda: len(ids_in_postgres(platform)) == len(ids) - 5)
    found = accounts_of(platform, "postgres")
    assert (found.delivered, found.refused) == (len(ids) - 5, 5)
    assert {json.loads(value)["id"] for _, value in letters(platform)} == set(ids) - set(ids_in_postgres(platform))


def test_a_clock_that_is_wrong(platform: Platform, table: Callable[[str], Any]) -> None:
    """Which row is newer is told by event time and offset: no clock of ours or of the store is asked."""
    service = deliver(platform)
    platform.start("cleaner")
    put(platform, 1, at="2099-01-01T00:00:00Z", amount=1)  # an event of the future
    until(lambda: set(ids_in_postgres(platform)) == {"e0"})
    table("UPDATE {} SET _delivered_at = '2100-01-01'")  # written by a clock that was far ahead
    put(platform, 1, at="2026-01-01T00:00:00Z", amount=2)  # older than what is there
    put(platform, 1, at="2099-01-02T00:00:00Z", amount=3)
    until(lambda: table("SELECT amount FROM {}").fetchall() == [(3,)])
    put(platform, 1, at="2099-01-01T12:00:00Z", amount=4)
    until(lambda: accounts_of(platform, "postgres").delivered == 4)
    assert table("SELECT amount FROM {}").fetchall() == [(3,)]
    assert service.stop() == 0
