"""The classes of privacy, a row each; the function of each class is in `clearwell.privacy.field_classes`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


@dataclass(frozen=True, slots=True)
class Traits:
    """What a class of privacy leaves possible with a field.

    `leaves`: clean events have the field at all. `keeps_type`: its values keep their type; else they become strings.
    `deterministic`: equal values are protected equally. `joinable`: and different ones differently, so that keys and
    ids still tell events apart. `keyed`: the same value looks different under another key. `reads_back`: who may use
    the key reads the value again. `has_width`: the contract gives the width of a bucket.
    """

    leaves: bool = True
    keeps_type: bool = False
    deterministic: bool = True
    joinable: bool = False
    keyed: bool = False
    reads_back: bool = False
    has_width: bool = False


class PrivacyKind(StrEnum):
    """How a protected field leaves the cleaner: the word of the contract, and its traits."""

    traits: Traits

    def __new__(cls, word: str, traits: Traits = Traits()) -> Self:
        """A member is its word; the traits come with it."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.traits = traits
        return kind

    DROP = "drop", Traits(leaves=False)
    MASK = "mask", Traits()
    HASH = "hash", Traits(joinable=True, keyed=True)
    PSEUDONYM = "pseudonym", Traits(joinable=True, keyed=True)
    GENERALISE = "generalise", Traits(keeps_type=True, has_width=True)
    ENCRYPT = "encrypt", Traits(deterministic=False, keyed=True, reads_back=True)


@dataclass(frozen=True, slots=True)
class Privacy:
    """The protection of one field. `width` is the bucket size of a kind that has one (unit of the field)."""

    kind: PrivacyKind
    width: float | None = None
