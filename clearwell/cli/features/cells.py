"""Values of features, and what windows leave out, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clearwell.cli.output import counted


def render_value(value: Any) -> object:
    """A value in a table; null is empty."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value


def render_excluded(late: int, beneath: int, lateness: str) -> Iterator[str]:
    """What windows leave out (invariant 11); nothing where nothing is left out."""
    if late:
        yield (
            f"{counted(late, 'event')} came more than {lateness} after a newer one of the same entity: in no window; a "
            "view of another name with a longer `lateness` has all."
        )
    if beneath:
        yield (
            f"{counted(beneath, 'event')} of before the windows that are still served came when their tiles were gone: "
            "history has all, online windows of then are null."
        )
