"""PostgreSQL's times that Python has not (infinity, before Christ, after 9999), as the server writes them."""

from __future__ import annotations

from typing import Any

from psycopg.adapt import Loader
from psycopg.types import datetime as times


def _or_text(exact: type[Loader]) -> type[Loader]:
    class OrText(exact):  # type: ignore[misc, valid-type]
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except Exception:  # whatever it has against the value: the text says it all
                return bytes(data).decode(errors="backslashreplace")

    return OrText


_LOADERS: dict[str, type[Loader]] = {
    "date": _or_text(times.DateLoader),
    "timestamp": _or_text(times.TimestampLoader),
    "timestamptz": _or_text(times.TimestamptzLoader),
    "time": _or_text(times.TimeLoader),
    "timetz": _or_text(times.TimetzLoader),
    "interval": _or_text(times.IntervalLoader),
}


def forgive(connection: Any) -> None:
    """Have this psycopg connection give the text of a time that it can't make a Python value of."""
    for name, loader in _LOADERS.items():
        connection.adapters.register_loader(name, loader)
