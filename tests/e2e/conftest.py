"""What tests of the registry and its commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearwell.cli.main import main
from clearwell.registry import Registry, connectors, migrate
from clearwell.settings import Settings
from tests.support.cdc_database import Database
from tests.support.following import Stream, clean_stream


@pytest.fixture
def database(stack: Settings, unique: Callable[[str], str]) -> Iterator[Database]:
    """A table to follow, by a slot and a publication of its name."""
    one = Database(stack.postgres, unique("cdc"))
    yield one
    one.close()


@pytest.fixture
def registry(stack: Settings) -> Iterator[Registry]:
    """The registry of the test stack, with its tables; the connectors of a test are removed after it."""
    migrate(stack.postgres)
    registry = Registry(stack.postgres)
    with registry.session() as session:
        before = {one.name for one in connectors.list_connectors(session)}
    yield registry
    with registry.session() as session:
        for one in connectors.list_connectors(session):
            if one.name not in before:
                connectors.remove(session, one.name)
    registry.close()


@pytest.fixture
def run(stack: Settings, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a `clearwell` command against the test stack and returns its exit code."""
    monkeypatch.setenv("CLEARWELL_HOME", str(stack.home))
    monkeypatch.setenv("CLEARWELL_SCHEMAS", str(stack.schemas))
    monkeypatch.setenv("CLEARWELL_ACTOR", "tester")
    return lambda *args: main([str(arg) for arg in args])


@pytest.fixture
def spec(tmp_path: Path, unique: Callable[[str], str]) -> Iterator[Path]:
    """A good specification beside a good file."""
    (tmp_path / "events.ndjson").write_bytes(b'{"id":"a","n":1}\n{"id":"b","n":2}\n')
    path = tmp_path / "spec.yaml"
    path.write_text(f"name: {unique('c')}\nsource: file\nstream: flights\nconfig:\n  path: events.ndjson\n")
    yield path


@pytest.fixture
def stream(stack: Settings, unique: Callable[[str], str]) -> Iterator[Stream]:
    """A fresh clean topic."""
    with clean_stream(stack.kafka, unique("followed")) as made:
        yield made
