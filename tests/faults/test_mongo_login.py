"""A MongoDB that asks for a login, and a deliverer that has a wrong one, or too few rights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clearwell.settings import Settings
from tests.support.outage import way_to
from tests.support.own_mongo import MongoWithLogin, mongo_with_login
from tests.support.platform import Platform, Service, until
from tests.support.refusing import CONTRACT, accounts_of, letters

pytestmark = pytest.mark.slow

CANARY = "pw-canary-19c4"
USER = "clearwell_user"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoWithLogin]:
    with mongo_with_login(tmp_path_factory.mktemp("login") / "mongo", f"{CANARY}-root") as one:
        yield one


@pytest.fixture
def user(server: MongoWithLogin, unique: Callable[[str], str]) -> str:
    """One who may log in and no more."""
    name = unique("user")
    server.add(name, CANARY)
    return name


@pytest.fixture
def platform(
    stack: Settings, server: MongoWithLogin, user: str, unique: Callable[[str], str], tmp_path: Path
) -> Iterator[Platform]:
    one = Platform(replace(stack, mongo=server.url(user, CANARY)), tmp_path / "platform", unique("stream"), CONTRACT)
    yield one
    one.close()


def deliver(platform: Platform, **env: str) -> Service:
    return platform.start("deliverer", "--destination", "mongo", **env)


def put(platform: Platform, count: int, start: int = 0) -> set[str]:
    """Raw events; their ids."""
    ids = [f"e{n}" for n in range(start, start + count)]
    platform.put([json.dumps({"id": one, "at": "2026-01-01T00:00:00Z"}).encode() for one in ids])
    return set(ids)


def in_store(server: MongoWithLogin, platform: Platform) -> set[str]:
    return {one["_id"] for one in server.documents(platform.stream)}


def ends_with(service: Service, platform: Platform, said: str) -> None:
    """Exit code 2 and one line, with no traceback and no secret."""
    assert service.ended() == 2
    platform.services.remove(service)
    lines = [line for line in service.text().splitlines() if " ERROR " in line]
    assert len(lines) == 1 and said in lines[0], service.text()[-2000:]
    assert "Traceback" not in service.text() and CANARY not in service.text()


@pytest.mark.parametrize(
    ("login", "said"),
    [
        ((USER, f"{CANARY}-wrong"), "refuses the user or the password: correct them in its URL."),
        (("nobody_at_all", CANARY), "refuses the user or the password: correct them in its URL."),
        ((), "wants to know who asks: put a user and a password into its URL."),
    ],
    ids=["password", "user", "none"],
)
def test_wrong_credentials(
    platform: Platform, server: MongoWithLogin, user: str, login: tuple[str, ...], said: str
) -> None:
    login = tuple(user if part is USER else part for part in login)
    ends_with(deliver(platform, CLEARWELL_MONGO=server.url(*login)), platform, said)


@pytest.mark.parametrize(("roles", "doing"), [((), "look for"), (("read",), "make or read")], ids=["none", "read"])
def test_missing_rights(
    platform: Platform, server: MongoWithLogin, user: str, roles: tuple[str, ...], doing: str
) -> None:
    """They are named; once they are granted, everything is delivered."""
    sent = put(platform, 50)
    platform.start("cleaner")
    if roles:
        server.grant(user, *roles)
    said = f'does not let this user {doing} the collection "{platform.stream}": grant it readWrite and dbAdmin.'
    ends_with(deliver(platform), platform, said)
    server.grant(user, "readWrite", "dbAdmin")
    service = deliver(platform)
    until(lambda: in_store(server, platform) == sent)
    assert service.stop() == 0


def test_rights_taken_away_under_us(platform: Platform, server: MongoWithLogin, user: str) -> None:
    """The deliverer ends and says so; the next one, with the rights back, goes on where it was."""
    server.grant(user, "readWrite", "dbAdmin")
    with way_to(server.port) as way:
        through = server.url(user, CANARY).replace(f":{server.port}/", f":{way.port}/")
        service = deliver(platform, CLEARWELL_MONGO=f"{through}&directConnection=true")
        platform.start("cleaner")
        sent = put(platform, 50)
        until(lambda: in_store(server, platform) == sent)
        server.revoke(user, "readWrite", "dbAdmin")
        way.shut()  # this server looks at rights when a connection logs in; MongoDB itself with each command
        way.open()
        sent |= put(platform, 50, start=50)
        ends_with(service, platform, "does not let this user")
    assert len(in_store(server, platform)) == 50
    server.grant(user, "readWrite", "dbAdmin")
    deliver(platform)
    until(lambda: in_store(server, platform) == sent)
    assert accounts_of(platform, "mongo").delivered == 100
    assert letters(platform) == [], "that is no fault of the events"
