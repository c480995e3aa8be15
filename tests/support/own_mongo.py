"""A MongoDB-wire server of a test's own: its users and their rights are the test's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from clearwell.local import child, mongo
from clearwell.local.ports import Ports, choose
from tests.support.platform import until

ROOT = "root"
DATABASE = mongo.DATABASE


class MongoWithLogin:
    """Its users, while it runs."""

    def __init__(self, port: int, password: str) -> None:
        self.port, self._password = port, password

    def url(self, user: str = "", password: str = "") -> str:
        """The address for a user; for nobody where none is given."""
        login = f"{user}:{password}@" if user else ""
        source = "?authSource=admin" if user else ""
        return f"mongodb://{login}127.0.0.1:{self.port}/{DATABASE}{source}"

    def add(self, user: str, password: str, *roles: str) -> None:
        """A user with `roles` in our database."""
        self._run({"createUser": user, "pwd": password, "roles": _in_ours(roles)})

    def grant(self, user: str, *roles: str) -> None:
        """More of them."""
        self._run({"grantRolesToUser": user, "roles": _in_ours(roles)})

    def revoke(self, user: str, *roles: str) -> None:
        """Fewer of them."""
        self._run({"revokeRolesFromUser": user, "roles": _in_ours(roles)})

    def documents(self, collection: str) -> list[dict[str, Any]]:
        """All there are."""
        with MongoClient[dict[str, Any]](self.url(ROOT, self._password)) as client:
            return list(client.get_default_database()[collection].find())

    def _run(self, command: dict[str, Any]) -> None:
        with MongoClient[dict[str, Any]](self.url(ROOT, self._password)) as client:
            client.admin.command(command)


def _in_ours(roles: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"role": role, "db": DATABASE} for role in roles]


@contextmanager
def mongo_with_login(home: Path, password: str) -> Iterator[MongoWithLogin]:
    """Its user ROOT, who may do all, has that password."""
    (home / "logs").mkdir(parents=True)
    port = choose(Ports()).mongo or 0
    with _running(home, port), MongoClient[dict[str, Any]](mongo.url(home, port)) as client:
        client.admin.command({"createUser": ROOT, "pwd": password, "roles": [{"role": "root", "db": "admin"}]})
        yield MongoWithLogin(port, password)


@contextmanager
def _running(home: Path, port: int, *options: str) -> Iterator[None]:
    process = mongo.process(home, port, test_commands=False)
    process.setup()
    command = [*child.prefix(process.stop_signal, owner=process.owner), *process.argv, *options]
    with (home / "mongo.log").open("ab") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: _answers(process.ready, running), every=0.1)
        yield
    finally:
        running.send_signal(process.stop_signal)
        running.wait(30)


def _answers(ready: object, running: subprocess.Popen[bytes]) -> bool:
    assert callable(ready) and running.poll() is None
    try:
        ready()
    except Exception:
        return False
    return True
