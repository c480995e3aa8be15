"""How the commands of `clearwell connector` reach the registry, and what they mean by FILE or NAME."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from clearwell import settings
from clearwell.cli.platform import open_platform
from clearwell.control.connectors import registered_spec
from clearwell.plugins.spec import ConnectorSpec, load_spec
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


def spec_of(target: str) -> ConnectorSpec:
    """The specification in a file, which needs no stack, or of a registered connector.

    A target that ends in .yaml or .yml, holds a slash or is there as a file means a file.
    """
    path = Path(target)
    if path.suffix in (".yaml", ".yml") or "/" in target or path.is_file():
        return load_spec(path)
    with open_platform() as platform:
        return registered_spec(platform, target)


def shown_time(at: datetime | None) -> str | None:
    """A point in time as the commands write it, to the second."""
    return None if at is None else at.isoformat(timespec="seconds")
