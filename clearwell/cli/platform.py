"""The platform that a command works on, and who gave the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from clearwell import settings
from clearwell.control.platform import Actor, Platform, user_name
from clearwell.errors import ConfigError

Plan = TypeVar("Plan")


def open_platform() -> Platform:
    """The platform of this command's settings."""
    return Platform(settings.load())


@contextmanager
def platform_if_any() -> Iterator[Platform | None]:
    """The same, or None where no stack runs and none is named: for what can be done without."""
    try:
        platform = open_platform()
    except ConfigError:
        yield None
        return
    with platform:
        yield platform


def actor(reason: str = "") -> Actor:
    """Who runs this command, and why: CLEARWELL_ACTOR, or the name of the operating system's user."""
    return Actor(user_name(), "cli", reason)


def plan_and_apply(
    plan: Callable[[Platform], Plan], apply: Callable[[Platform, Actor, Plan], Any], dry_run: bool
) -> Plan:
    """What a command would do, and does unless in a dry run."""
    with open_platform() as platform:
        planned = plan(platform)
        if not dry_run:
            apply(platform, actor(), planned)
    return planned
