"""What every use case stands on: the platform, opened once, and who acts on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from sqlalchemy.orm import Session

from clearwell.privacy.keyring import Keyring
from clearwell.privacy.open_keyring import open_keyring
from clearwell.registry import Registry, audit
from clearwell.settings import Settings


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, how they came in ("cli", "api", …), and why, where they said so."""

    name: str
    face: str
    reason: str = ""


def user_name() -> str:
    """CLEARWELL_ACTOR, or the name of the operating system's user."""
    return audit.actor()


class Platform:
    """Settings, registry and key ring of one platform; a context manager that lets go of its connections at the end.

    Connects at first use; thread-safe; one for each process is enough. Kafka's admin clients are the process's own
    (`clearwell.kafka.admin`), since other threads may be using them when a platform is closed.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError when the registry's address is none."""
        self.settings = settings
        self.registry = Registry(settings.postgres)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections; calling it again is harmless."""
        self.registry.close()

    @cached_property
    def keyring(self) -> Keyring:
        """The key ring, opened at first use. Raises ConfigError when its file is missing, damaged or not private."""
        return open_keyring(self.settings)

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """One transaction to read in. Raises as `Registry.session`."""
        with self.registry.session() as session:
            yield session

    @contextmanager
    def changing(self, actor: Actor) -> Iterator[Session]:
        """One transaction for guards, change and audit: what is audited in it is the actor's. Raises as `looking`."""
        with self.registry.session() as session:
            audit.act_as(session, actor.name, actor.face, actor.reason)
            yield session
