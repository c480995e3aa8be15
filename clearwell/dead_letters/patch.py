"""Changes of a JSON event that leave what they do not touch as it is, byte for byte: numbers keep all their digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from clearwell.errors import ConfigError

_DECODER = msgspec.json.Decoder(dict[str, Raw])


@dataclass(frozen=True, slots=True)
class EventChange:
    """What a person wants of an event, in this order: `event` in its place, `patch`, `unset`, `sets`.

    All of it is JSON text; `patch` is a JSON merge patch (RFC 7386), `sets` maps names to values, of which null is one.
    """

    event: bytes | None = None
    patch: bytes | None = None
    unset: Sequence[str] = ()
    sets: Mapping[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.event is not None or self.patch is not None or bool(self.unset) or bool(self.sets)

    def names(self, before: bytes) -> list[str]:
        """The fields of `before` and of what becomes of it that are not the same, sorted."""
        old, new = _object(before) or {}, _object(self.apply(before)) or {}
        return sorted(name for name in old.keys() | new.keys() if _bytes(old, name) != _bytes(new, name))

    def apply(self, before: bytes) -> bytes:
        """The changed event. Raises ConfigError where the event, or the change, is no JSON object."""
        event = before if self.event is None else self.event
        if self.event is not None and _object(event) is None:
            raise ConfigError("What is to be put in the event's place is no JSON object.")
        if self.patch is None and not self.unset and not self.sets:
            return event
        fields = _object(event)
        if fields is None:
            raise ConfigError(
                "The event is no JSON object, so single fields can't be changed: replace the whole event."
            )
        if self.patch is not None:
            if _object(self.patch) is None:
                raise ConfigError("The patch is no JSON object.")
            fields = _object(merge(event, self.patch)) or {}
        for name in self.unset:
            fields.pop(name, None)
        return msgspec.json.encode(fields | {name: Raw(value) for name, value in self.sets.items()})


def merge(target: bytes | None, patch: bytes) -> bytes:
    """`target` (None: nothing is there) changed by a JSON merge patch; both are JSON text. RFC 7386, section 2."""
    changes = _object(patch)
    if changes is None:
        return patch
    merged = (_object(target) if target is not None else None) or {}
    for name, value in changes.items():
        if bytes(value).strip() == b"null":
            merged.pop(name, None)
        else:
            merged[name] = Raw(merge(_bytes(merged, name), bytes(value)))
    return msgspec.json.encode(merged)


def is_json(text: bytes) -> bool:
    """Whether `text` is one JSON value."""
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _object(text: bytes) -> dict[str, Raw] | None:
    """The members of a JSON object, the last of those with one name; None for any other text."""
    try:
        return _DECODER.decode(text) if is_json(text) else None
    except msgspec.DecodeError:
        return None


def _bytes(fields: Mapping[str, Raw], name: str) -> bytes | None:
    return bytes(fields[name]) if name in fields else None
