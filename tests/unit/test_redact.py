"""Addresses are shown as host, port and database, and nothing else of them, whatever form they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearwell.cli.main import main
from clearwell.settings import Endpoints, redact

FORMS = {
    "postgresql://me:SECRET@127.0.0.1:1/db": "postgresql://127.0.0.1:1/db",
    "postgresql://u:SECRET@TAILSECRET@127.0.0.1:1/db": "postgresql://127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?password=SECRET&sslpassword=SECRET": "postgresql://127.0.0.1:1/db",
    "postgresql://u:SE/SECRET?x#y@127.0.0.1:1/db": "postgresql://127.0.0.1:1/db",
    "host=127.0.0.1 port=1 dbname=db password=SECRET": "host=127.0.0.1 port=1 dbname=db",
    "host=127.0.0.1 password='a SECRET' port=1": "host=127.0.0.1 port=1",
    "mongodb://me:SECRET@127.0.0.1:1,127.0.0.1:2/db?authSource=admin": "mongodb://127.0.0.1:1,127.0.0.1:2/db",
    "SECRET": "***",
    "user:SECRET@127.0.0.1": "***",
    "postgresql://127.0.0.1:1/db;password=SECRET": "postgresql://127.0.0.1:1/db",
    "127.0.0.1:9092,[::1]:9093": "127.0.0.1:9092,[::1]:9093",
    "sqlite:////tmp/some.db": "sqlite:////tmp/some.db",
}


@pytest.mark.parametrize("address", FORMS)
def test_what_is_shown(address: str) -> None:
    assert redact(address) == FORMS[address]


def test_endpoints_show_no_password() -> None:
    shown = repr(Endpoints("h:1", "postgresql://u:SECRET@h/d", "mongodb://u:SECRET@h/d", "clearwell", "SECRET"))
    assert "SECRET" not in shown


COMMANDS = (
    "status", "prepare", "prepare --dry-run", "up --dry-run", "credentials", "connector list",
    "connector show x", "destination list", "dead list", "balance flights", "features list", "lake list",
    "subscribe m --stream flights",
)  # fmt: skip
ADDRESSES = [
    "postgresql://u:SECRET@TAILSECRET@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?password=SECRET&sslpassword=SECRET",
    "host=127.0.0.1 port=1 dbname=db password=SECRET",
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_shows_a_password(
    command: str,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Nobody listens: each says so, without the password."""
    monkeypatch.setenv("CLEARWELL_HOME", f"{tmp_path}/home")
    monkeypatch.setenv("CLEARWELL_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("CLEARWELL_POSTGRES", address)
    monkeypatch.setenv("CLEARWELL_MONGO", "mongodb://u:SECRET@TAILSECRET@127.0.0.1:1/db?serverSelectionTimeoutMS=10")
    main(command.split())
    said = "".join(capfd.readouterr())
    assert "SECRET" not in said and "Traceback" not in said
