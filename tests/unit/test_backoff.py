"""Retries in place: until it works, or until nobody waits any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from clearwell import backoff
from clearwell.backoff import retry_until_available, retry_until_available_async
from clearwell.errors import Fatal, Retryable


def failing(times: int, error: Exception) -> Callable[[], str]:
    errors = [error] * times

    def action() -> str:
        if errors:
            raise errors.pop()
        return "done"

    return action


def test_what_may_work_later_is_tried_until_it_does() -> None:
    told: list[tuple[str, float]] = []
    waited: list[float] = []
    action = failing(2, Retryable("Away."))
    assert retry_until_available(action, report=lambda *at: told.append((str(at[0]), at[1])), pause=waited.append)
    assert told == [("Away.", wait) for wait in waited] and len(waited) == 2


def test_it_ends_where_nobody_waits_any_more_or_trying_again_does_not_help() -> None:
    with pytest.raises(Retryable, match="Away"):
        retry_until_available(failing(1, Retryable("Away.")), pause=lambda _: True)
    with pytest.raises(Fatal):
        retry_until_available(failing(1, Fatal("Wrong.")), pause=lambda _: pytest.fail("was tried again"))


def test_it_waits_without_blocking(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(backoff, "delays", lambda: iter([0.0] * 3))
    action = failing(2, Retryable("Away."))

    async def attempt() -> str:
        return action()

    assert asyncio.run(retry_until_available_async(attempt)) == "done"
    assert caplog.text.count("Away. Trying again in 0.0 s.") == 2
