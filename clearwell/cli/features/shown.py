"""How commands about features show values."""

from __future__ import annotations

from typing import Any


def cell(value: Any) -> object:
    """A value in a table; null is empty."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value
