"""A destination of another package that can't be set back is refused in one sentence, before anybody is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clearwell.accounts import replay
from clearwell.contract.load import load
from clearwell.destinations.memory import MemoryDestination, MemoryStore
from clearwell.settings import Settings
from clearwell.testing.destination_events import SIMPLE
from tests.support.platform import FLIGHTS

NOBODY = Settings(
    "127.0.0.1:1", "postgresql://127.0.0.1:1/x", "mongodb://127.0.0.1:1/x", Path("h"), Path("s"), Path("k")
)


class Plain:
    """A destination without `set_back`."""

    def __init__(self) -> None:
        self._made = MemoryDestination(MemoryStore(), SIMPLE, "group")

    def __getattr__(self, name: str) -> Any:
        if name in ("set_back", "sends_again"):
            raise AttributeError(name)
        return getattr(self._made, name)


def test_what_can_not_be_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    contract = load(FLIGHTS)
    monkeypatch.setattr(replay, "open_destination", lambda *_: Plain())
    with pytest.raises(replay.ConfigError, match=r"postgres can't be set back.*a destination of a new name"):
        replay.plan(NOBODY, contract, contract.routes[0], {0: 0})
