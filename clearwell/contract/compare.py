"""Two versions of a stream: what differs, and whether readers of the old one can read the new one.

A reader can when nothing it relied on is gone: every field is still there, of the same type, unit and protection, null
no more often than before, and with no values that the old contract ruled out. New fields are fine; so are narrower
rules. A version that breaks readers is filled by a backfill before anyone switches to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clearwell.contract.model import CleanSchema, Field
from clearwell.contract.values import python_value


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, as a sentence; `field` is "" where it is about the event as a whole."""

    field: str
    what: str
    breaks: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences between two clean schemas."""

    old: int
    new: int
    differences: tuple[Difference, ...]

    @property
    def readable(self) -> bool:
        """Whether readers of the old version can read the new one."""
        return not any(difference.breaks for difference in self.differences)


def compare(old: CleanSchema, new: CleanSchema) -> Comparison:
    """What changed from `old` to `new`, in the order of the old fields and then the new ones."""
    differences = list(_roles(old, new))
    before = {field.name: field for field in old.fields}
    after = {field.name: field for field in new.fields}
    for name, field in before.items():
        if name in after:
            differences += _field(field, after[name])
        else:
            differences.append(Difference(name, "is gone", breaks=True))
    differences += [Difference(name, "is new", breaks=False) for name in after if name not in before]
    return Comparison(old.version, new.version, tuple(differences))


def _roles(old: CleanSchema, new: CleanSchema) -> Iterator[Difference]:
    for role in ("key", "event_id", "event_time", "subject"):
        was, now = getattr(old, role), getattr(new, role)
        if was != now:
            yield Difference("", f"`{role}` was {_shown(was)} and is {_shown(now)}", breaks=True)


def _shown(role: object) -> str:
    return "+".join(role) if isinstance(role, tuple) else str(role or "nothing")


def _field(old: Field, new: Field) -> Iterator[Difference]:
    for part in ("type", "items", "unit", "privacy"):
        if getattr(old, part) != getattr(new, part):
            yield Difference(old.name, f"has another {part}", breaks=True)
    if old.required != new.required:
        yield Difference(old.name, "is never null now" if new.required else "can be null now", breaks=old.required)
    if old.type is new.type:
        yield from _values(old, new)
    if old.description != new.description:
        yield Difference(old.name, "is described differently", breaks=False)


def _values(old: Field, new: Field) -> Iterator[Difference]:
    """Rules on values: wider ones break readers, narrower ones don't."""
    for part, sign in (("minimum", -1), ("maximum", 1), ("max_length", 1), ("scale", 1), ("precision", 1)):
        was, now = getattr(old, part), getattr(new, part)
        if was != now:
            wider = was is not None and (now is None or _beyond(old, part, was, now, sign))
            yield Difference(old.name, f"{part.replace('_', ' ')} is {'wider' if wider else 'narrower'}", breaks=wider)
    if old.pattern != new.pattern:
        yield Difference(old.name, "has another pattern", breaks=old.pattern is not None)
    if _allowed(old) != _allowed(new):
        more = old.allowed is not None and (new.allowed is None or not _allowed(new) <= _allowed(old))
        yield Difference(old.name, "allows more values" if more else "allows fewer values", breaks=more)


def _beyond(field: Field, part: str, was: Any, now: Any, sign: int) -> bool:
    bound = part in ("minimum", "maximum")
    first, second = (python_value(field.type, was), python_value(field.type, now)) if bound else (was, now)
    return bool(second > first if sign > 0 else second < first)


def _allowed(field: Field) -> frozenset[object]:
    return frozenset(field.allowed or ())
