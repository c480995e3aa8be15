"""An event's id, taken from one of its fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec


class FieldId:
    """Takes an event's id from one of its fields, without decoding the others."""

    def __init__(self, field: str) -> None:
        shape = msgspec.defstruct("_Id", [("value", str | int, msgspec.field(name=field))])
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(shape).decode

    def of(self, data: bytes) -> str | None:
        """The id, or None where the event has none (malformed, or neither text nor integer)."""
        try:
            return str(self._decode(data).value)
        except Exception:  # hostile data raises outside msgspec's own errors too (RecursionError, UnicodeDecodeError)
            return None
