"""What an event has beside the declared fields, where the contract keeps it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from clearwell.contract.model import Field
from clearwell.pipeline.careful_decode import BadEvent


def gatherer(fields: Iterable[Field]) -> Callable[[Mapping[str, Any]], dict[str, Any] | None]:
    """A function from a whole event to its undeclared fields; None when there are none.

    It raises BadEvent for a name that differs from another of the event's, or from a declared one, by case or Unicode
    form alone: `SSN` beside a protected `ssn` is the same thing to a person, and to stores that don't tell cases apart.
    """
    declared = frozenset(field.name for field in fields)
    taken = frozenset(map(_folded, declared))

    def gather(event: Mapping[str, Any]) -> dict[str, Any] | None:
        rest = {name: event[name] for name in event if name not in declared}
        folded = set(map(_folded, rest))
        if len(folded) != len(rest) or not folded.isdisjoint(taken):
            raise BadEvent("two names in the event differ by case or Unicode form alone", "validate")
        return rest or None

    return gather


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name[:LONGEST]).casefold()) + name[LONGEST:]
    return "".join(character for character in name if unicodedata.category(character) != "Cf")


LONGEST = 1_000
"""Characters of a name that are brought into normal form, which takes the square of the marks in a row."""
