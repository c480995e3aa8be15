"""Dead letters in tests: what the registry knows of a stream's, and what was broken to become one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from clearwell.cli.main import main
from clearwell.kafka import admin, names
from clearwell.registry import Registry, dead_letters
from clearwell.registry.dead_letters import DeadLetterFilter, RegisteredDeadLetter
from tests.support.platform import Platform, until

BROKEN = {
    "origin is not one of the allowed values": lambda good: good.replace(b'"EWR"', b'"LHR"'),
    "the event is not JSON": lambda good: good[:-5],
    "carrier is required, but missing": lambda good: good.replace(b'"carrier":"UA",', b""),
    "year must be int32 from 2013 up to 2014": lambda good: good.replace(b'"year":2013', b'"year":1913'),
}
"""Reason → what makes a good flight fail for it."""


def letters(platform: Platform, **wanted: Any) -> list[RegisteredDeadLetter]:
    """The dead letters of the platform's stream, as the registry has them."""
    registry = Registry(platform.settings.postgres)
    try:
        with registry.session() as session:
            return dead_letters.find(session, DeadLetterFilter(stream=platform.stream, **wanted))
    finally:
        registry.close()


def arrived(platform: Platform, count: int, within: float = 60.0) -> list[RegisteredDeadLetter]:
    """The dead letters, once there are `count`."""

    def enough() -> list[RegisteredDeadLetter] | None:
        platform.alive()
        found = letters(platform)
        return found if len(found) >= count else None

    found: list[RegisteredDeadLetter] = until(enough, within, every=0.1)
    assert len(found) == count, Counter(one.reason for one in found)
    return found


def states(platform: Platform) -> Counter[str]:
    """How many dead letters are in each state."""
    return Counter(str(one.state) for one in letters(platform))


def until_states(platform: Platform, want: Callable[[Counter[str]], bool], within: float = 60.0) -> Counter[str]:
    """The states, once they are as wanted."""

    def there() -> Counter[str] | None:
        platform.alive()
        found = states(platform)
        return found if want(found) else None

    return until(there, within, every=0.1)  # type: ignore[no-any-return]


def dead_records(platform: Platform) -> int:
    """How many records the dead topic has."""
    return sum(admin.end_offsets(platform.settings.kafka, names.dead_topic(platform.stream)).values())


class Commands:
    """`clearwell dead-letter … --json` in this process, on one platform."""

    def __init__(self, platform: Platform, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        for name, value in platform.env().items():
            if name.startswith("CLEARWELL_"):
                monkeypatch.setenv(name, value)
        self._capsys = capsys

    def __call__(self, *args: object, code: int = 0) -> Any:
        """The object that it prints; it must end with `code`."""
        self._capsys.readouterr()
        ended = main(["dead-letter", *map(str, args), "--json"])
        out, err = self._capsys.readouterr()
        assert ended == code, (out, err)
        return json.loads(out)

    def text(self, *args: object, code: int = 0) -> str:
        """What it prints for people; a failure is one sentence on standard error."""
        self._capsys.readouterr()
        ended = main(["dead-letter", *map(str, args)])
        out, err = self._capsys.readouterr()
        assert ended == code, (out, err)
        return out if code in (0, 1) else err
