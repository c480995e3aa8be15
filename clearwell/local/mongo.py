"""The embedded MongoDB-wire server: the wheel `secantusdb` (WiredTiger; GPL), a process of its own, never imported.

It asks for a password (SCRAM-SHA-256), as every user of the machine may connect to loopback.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clearwell.errors import ConfigError, Fatal
from clearwell.local import child
from clearwell.local.environment import for_servers
from clearwell.local.logs import append
from clearwell.local.passwords import USER, password
from clearwell.local.ports import LOOPBACK, Ports, choose
from clearwell.local.process import Process

DATABASE = "clearwell"
PASSWORD_FILE = "mongo.password"  # noqa: S105 - a file's name
ANSWERS_WITHIN = 60.0
"""Seconds that the server may take to answer while its user is made."""


def process(home: Path, port: int, test_commands: bool) -> Process:
    """The server in `home`/mongo, listening on `port`; `test_commands` lets clients inject failures."""
    more = ["--enable-test-commands"] if test_commands else []
    return Process(
        name="mongo",
        argv=(*_command(home / "mongo", home / "mongo" / "data", port), "--auth", *more),
        ready=lambda: check(url(home, port)),
        setup=lambda: _set_up(home),
        endpoint=f"{LOOPBACK}:{port}",
    )


def url(home: Path, port: int) -> str:
    """The address of the embedded server, with its database and our login."""
    return f"mongodb://{USER}:{password(home / PASSWORD_FILE)}@{LOOPBACK}:{port}/{DATABASE}?authSource=admin"


def check(address: str) -> None:
    """Returns when the server lets us in and answers; raises otherwise."""
    import pymongo

    with pymongo.MongoClient[dict[str, object]](address, serverSelectionTimeoutMS=2000) as client:
        client.admin.command("ping")


def _command(folder: Path, data: Path, port: int) -> tuple[str, ...]:
    config = str(folder / "secantusd.toml")  # given, though empty: otherwise it looks for one in other folders
    options = ["--config", config, "--host", LOOPBACK, "--port", str(port), "--cache-size", "256M"]
    return (sys.executable, "-m", "secantus", *options, "--storage-path", str(data), "--log-level", "WARNING")


def _set_up(home: Path) -> None:
    """Make the data folder with one user, ours. Raises Fatal when that fails, ConfigError for a folder without one.

    The server takes its first user only while it asks nobody who they are. So that happens once, beside the data
    folder and on a port that nobody knows; then the server is asked, with passwords on, whether anybody else got in.
    """
    folder = home / "mongo"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "secantusd.toml").touch(mode=0o600)
    data = folder / "data"
    if data.exists():
        if not (home / PASSWORD_FILE).exists():
            raise ConfigError(
                f"{home} was made by an older Clearwell, whose MongoDB-wire server asked for no password: keep it for "
                "that version, or start anew with `clearwell down --wipe`."
            )
        return
    new = folder / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    secret = password(home / PASSWORD_FILE)
    port = choose(Ports()).mongo or 0
    with _running(home, new, port) as command:
        command(f"mongodb://{LOOPBACK}:{port}/", {"createUser": USER, "pwd": secret, "roles": ["root"]})
    with _running(home, new, port, "--auth") as command:
        users = command(url(home, port), {"find": "system.users", "projection": {"user": 1, "db": 1}})
    if [(user["db"], user["user"]) for user in users["cursor"]["firstBatch"]] != [("admin", USER)]:
        shutil.rmtree(new)
        raise Fatal(
            "Somebody else made a user of the MongoDB-wire server while it was set up: run `clearwell up` again."
        )
    new.rename(data)


@contextlib.contextmanager
def _running(home: Path, data: Path, port: int, *options: str) -> Iterator[Any]:
    """The server, for as long as it is set up; gives what sends it a command."""
    import pymongo

    argv = [*child.prefix(signal.SIGKILL), *_command(home / "mongo", data, port), *options]
    with append(home / "logs" / "mongo.log") as log:
        running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=for_servers())

    def send(address: str, command: dict[str, Any]) -> dict[str, Any]:
        until = time.monotonic() + ANSWERS_WITHIN
        while True:
            try:
                with pymongo.MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=500) as client:
                    return client.admin.command(command)
            except pymongo.errors.PyMongoError as error:  # its text may hold the address
                if running.poll() is not None or time.monotonic() > until:
                    raise Fatal(
                        f"The MongoDB-wire server could not be set up ({type(error).__name__}). "
                        f"Its log: {home / 'logs' / 'mongo.log'}"
                    ) from None
                time.sleep(0.1)

    try:
        yield send
    finally:
        running.terminate()
        running.wait(30)
