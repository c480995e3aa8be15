"""How the commands that are not on the control plane yet reach the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from clearwell import settings
from clearwell.registry import Registry


@contextmanager
def open_registry() -> Iterator[Registry]:
    """The registry of this command's settings."""
    registry = Registry(settings.load().postgres)
    try:
        yield registry
    finally:
        registry.close()


@contextmanager
def open_session() -> Iterator[Session]:
    """One transaction in it."""
    with open_registry() as registry, registry.session() as session:
        yield session
