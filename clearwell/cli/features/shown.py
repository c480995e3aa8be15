"""How commands about features read instants and show values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from clearwell.contract.model import Type
from clearwell.contract.values import python_value
from clearwell.errors import ConfigError


def instant(option: str, text: str) -> datetime:
    """The instant that was given for `option`. Raises ConfigError."""
    try:
        found: datetime = python_value(Type.TIMESTAMP, text)
    except ValueError as error:
        raise ConfigError(f"{option} {error}.") from None
    return found


def cell(value: Any) -> object:
    """A value in a table; null is empty."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value
