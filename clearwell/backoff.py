"""Retries in place: waits grow exponentially, with jitter, so that many processes do not come back at once."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from clearwell.errors import Retryable

log = logging.getLogger(__name__)

Result = TypeVar("Result")


def _warn(error: Retryable, wait: float) -> None:
    log.warning("%s Trying again in %.1f s.", error, wait)


def retry_until_available(
    action: Callable[[], Result],
    *,
    report: Callable[[Retryable, float], None] = _warn,
    pause: Callable[[float], bool | None] = time.sleep,
) -> Result:
    """The result of `action`, which is tried again for as long as it raises Retryable. Blocks.

    `report` is told of each failure, and in how many seconds the next try is. `pause` waits for so long; where it
    returns True (as `threading.Event.wait` does), nobody waits for the result any more, and the error is raised.
    """
    for wait in delays():
        try:
            return action()
        except Retryable as error:
            report(error, wait)
            if pause(wait):
                raise
    raise AssertionError("delays() is endless")


async def retry_until_available_async(action: Callable[[], Awaitable[Result]]) -> Result:
    """As `retry_until_available`, without blocking; ends by being cancelled."""
    for wait in delays():
        try:
            return await action()
        except Retryable as error:
            _warn(error, wait)
            await asyncio.sleep(wait)
    raise AssertionError("delays() is endless")


def delays(first: float = 0.1, cap: float = 15.0) -> Iterator[float]:
    """Endless seconds to wait: uniform in [bound/2, bound], where the bound doubles from `first` up to `cap`.

    Half of the bound is kept, unlike AWS's "full jitter", so that no retry comes at once.
    """
    bound = first
    while True:
        yield random.uniform(bound / 2, bound)  # noqa: S311 - not a secret
        bound = min(bound * 2, cap)
