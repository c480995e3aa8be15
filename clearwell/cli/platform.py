"""The platform that a command works on, and who gave the command."""

from __future__ import annotations

from clearwell import settings
from clearwell.control.platform import Actor, Platform, user_name


def open_platform() -> Platform:
    """The platform of this command's settings."""
    return Platform(settings.load())


def actor() -> Actor:
    """Who runs this command: CLEARWELL_ACTOR, or the name of the operating system's user."""
    return Actor(user_name(), "cli")
