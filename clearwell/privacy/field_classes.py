"""What takes the place of a value, by class of privacy; a class that is read back is sealed (see `envelope`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clearwell.contract.model import Field
from clearwell.contract.privacy import PrivacyKind
from clearwell.privacy.keyring import Keyring
from clearwell.privacy.pseudonym import MASK, generaliser, hasher, pseudonymiser

Make = Callable[[Keyring, str, Field], Callable[[Any], Any]]
"""Key ring, stream and field → the function that protects the field's values. Raises Fatal without a key."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Every value becomes the same."""

    value: str | None


@dataclass(frozen=True, slots=True)
class OfValue:
    """Made of the Python value."""

    make: Make


@dataclass(frozen=True, slots=True)
class OfBytes:
    """Made of the value's bytes: UTF-8 of text, the JSON of anything else."""

    make: Make


PROTECTIONS: Mapping[PrivacyKind, Constant | OfValue | OfBytes] = {
    PrivacyKind.DROP: Constant(None),
    PrivacyKind.MASK: Constant(MASK),
    PrivacyKind.HASH: OfBytes(lambda keyring, stream, field: hasher(keyring, stream, field.name)),
    PrivacyKind.PSEUDONYM: OfBytes(lambda keyring, stream, field: pseudonymiser(keyring, stream, field.name)),
    PrivacyKind.GENERALISE: OfValue(lambda keyring, stream, field: generaliser(field)),
}
