"""What a version has stored stays visible in the balance when another one does not fit."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from clearwell.control.balance import stream_balance
from clearwell.errors import ConfigError
from clearwell.testing import TestPlatform
from clearwell.testing.contracts import minimal_contract

command: Any = importlib.import_module("clearwell.cli.balance")
WHY = 'The column "n" of the table "visits" is bigint but the contract visits v1 makes it text.'


def test_a_destination_that_does_not_take_a_version_does_not_hide_the_other_accounts() -> None:
    """The balance is there, says why, and does not pass for one that adds up."""
    platform = TestPlatform(minimal_contract("routes:\n  - {to: postgres}\n  - {to: mongo}\n"))
    platform.put({"id": "a", "at": "2026-01-01T00:00:00Z"})
    platform.run()

    def refuse() -> Any:
        raise ConfigError(WHY)

    platform.deliver_into("postgres", refuse)
    balance = platform.balance()
    assert balance.unread == (("postgres", WHY),)
    assert [(account.name, account.delivered) for account in balance.destinations] == [("mongo", 1)]
    assert not balance.balanced
    advice = command._advice(stream_balance(replace(balance, destinations=())))
    assert advice == [f"postgres does not take v1, and its accounts can't be read. {WHY}"]
