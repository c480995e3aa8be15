"""A value of a row that JSON can't hold."""

from __future__ import annotations

from typing import Any

from clearwell.source import Refusal


class Misfit:
    """Stands in its row for a value that can't be written; `raw` is what the file holds, for whoever mends the row."""

    __slots__ = ("raw", "reason")

    def __init__(self, reason: Refusal, raw: Any) -> None:
        self.reason = reason
        self.raw = raw
