"""The embedded MongoDB-wire server: the wheel `secantusdb` (WiredTiger; GPL), a process of its own, never imported."""

from __future__ import annotations

import sys
from pathlib import Path

from clearwell.local.ports import LOOPBACK
from clearwell.local.process import Process

DATABASE = "clearwell"


def process(home: Path, port: int, test_commands: bool) -> Process:
    """The server in `home`/mongo, listening on `port`; `test_commands` lets clients inject failures."""
    folder = home / "mongo"
    config = folder / "secantusd.toml"  # given, though empty: otherwise it looks for one in other folders

    def setup() -> None:
        folder.mkdir(exist_ok=True)
        config.touch()

    options = ["--config", str(config), "--host", LOOPBACK, "--port", str(port), "--cache-size", "256M"]
    options += ["--storage-path", str(folder / "data"), "--log-level", "WARNING"]
    options += ["--enable-test-commands"] if test_commands else []
    return Process(
        name="mongo",
        argv=(sys.executable, "-m", "secantus", *options),
        ready=lambda: check(url(port)),
        setup=setup,
        endpoint=f"{LOOPBACK}:{port}",
    )


def url(port: int) -> str:
    """The address of the embedded server, with its database."""
    return f"mongodb://{LOOPBACK}:{port}/{DATABASE}"


def check(address: str) -> None:
    """Returns when the server answers a ping; raises otherwise."""
    import pymongo

    with pymongo.MongoClient[dict[str, object]](address, serverSelectionTimeoutMS=2000) as client:
        client.admin.command("ping")
