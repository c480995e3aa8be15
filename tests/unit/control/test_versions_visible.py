"""What a version has stored stays visible in the balance when another one does not fit."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from clearwell.control.balance import stream_balance
from clearwell.errors import ConfigError
from clearwell.testing.contracts import minimal_contract as contract

under_test: Any = importlib.import_module("clearwell.reconciliation.balance")
command: Any = importlib.import_module("clearwell.cli.balance")
WHY = 'The column "n" of the table "visits" is bigint but the contract visits v1 makes it text.'


def test_a_destination_that_does_not_take_a_version_does_not_hide_the_other_accounts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The balance is there, says why, and does not pass for one that adds up."""
    closed: list[str] = []

    class Books:
        def __init__(self, _settings: Any, _contract: Any, route: Any, _topic_id: str) -> None:
            if route.to == "postgres":
                raise ConfigError(WHY)
            self.name = route.to

        def sum(self) -> None:
            assert not closed

        def close(self) -> None:
            closed.append(self.name)

    @asynccontextmanager
    async def no_reader(_where: str) -> Any:
        yield None

    monkeypatch.setattr(under_test, "Books", Books)
    monkeypatch.setattr(under_test, "reader", no_reader)
    monkeypatch.setattr(under_test, "source_balances", lambda _registry, _stream: ())
    monkeypatch.setattr(under_test, "Registry", lambda _dsn: type("Closed", (), {"close": lambda _self: None})())
    monkeypatch.setattr(under_test, "committed", lambda *_: {})
    topics = {"raw.visits": "r", "clean.visits.v1": "c"}
    monkeypatch.setattr(under_test.admin, "require_topics", lambda *_: topics)
    monkeypatch.setattr(under_test.admin, "partition_count", lambda *_: 0)
    settings = type("Where", (), {"kafka": "", "postgres": ""})()
    stream = contract("routes:\n  - {to: postgres}\n  - {to: mongo}\n")
    found = asyncio.run(under_test._balance(settings, stream))
    assert closed == ["mongo"]
    assert found.unread == (("postgres", WHY),)
    assert not found.balanced
    advice = command._advice(stream_balance(replace(found, destinations=())))
    assert advice == [f"postgres does not take v1, and its accounts can't be read. {WHY}"]
