"""Pseudonyms, hashes and buckets."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from clearwell.contract.model import Field, Type
from clearwell.contract.privacy import Privacy, PrivacyKind
from clearwell.privacy.field_classes import PROTECTIONS
from clearwell.privacy.keyring import DataKey
from clearwell.privacy.memory_keyring import MemoryKeyring
from clearwell.privacy.pseudonym import derive_key, generaliser, hasher, pseudonymiser


class FixedKeyring(MemoryKeyring):
    """Its root is known, so that answers can be written down."""

    def pseudonym_key(self, stream: str) -> DataKey:
        return derive_key(bytes(range(32)), stream)


def test_every_class_is_sealed_or_has_a_function() -> None:
    assert PROTECTIONS.keys() == {kind for kind in PrivacyKind if not kind.traits.reads_back}


def test_known_answers() -> None:
    """Fixed for ever: a change here breaks every join on stored pseudonyms."""
    assert pseudonymiser(FixedKeyring(), "s", "f")(b"clear") == "cwp1.EuKckOUrsFSYCV8IuZ3Bwg"
    assert pseudonymiser(FixedKeyring(), "s", "f", domain="d")(b"clear") == "cwp1.r5KVx9Ixrc5QaQW7aWuHZg"
    assert hasher(FixedKeyring(), "s", "f")(b"clear") == "cwh1.Z-KgRQDsX8782pDkiQidpK1ULB3MHCGqPy-F7JaNOwo"


def test_a_pseudonym_is_stable_and_separate() -> None:
    keyring = MemoryKeyring()
    one = pseudonymiser(keyring, "s", "f")
    assert one(b"a") == one(b"a") == pseudonymiser(keyring, "s", "f")(b"a")
    others = [
        one(b"b"),
        pseudonymiser(keyring, "s", "g")(b"a"),
        pseudonymiser(keyring, "t", "f")(b"a"),
        pseudonymiser(keyring, "s", "f", domain="s")(b"a"),
        pseudonymiser(MemoryKeyring(), "s", "f")(b"a"),
        hasher(keyring, "s", "f")(b"a"),
    ]
    assert len({one(b"a"), *others}) == 7
    assert len({text[5:27] for text in [one(b"a"), *others]}) == 7  # not by their marks alone


def test_a_shared_domain_joins_streams_and_fields() -> None:
    keyring = MemoryKeyring()
    here = pseudonymiser(keyring, "flights", "tailnum", domain="aircraft")
    there = pseudonymiser(keyring, "repairs", "registration", domain="aircraft")
    assert here(b"N14228") == there(b"N14228")


def test_rotation_keeps_pseudonyms() -> None:
    keyring = MemoryKeyring()
    before = pseudonymiser(keyring, "s", "f")(b"a")
    keyring.rotate()
    assert pseudonymiser(keyring, "s", "f")(b"a") == before


def bucket(type_: Type, width: float, value: Any, **parts: Any) -> Any:
    return generaliser(Field("x", type_, privacy=Privacy(PrivacyKind.GENERALISE, width), **parts))(value)


def utc(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts, tzinfo=datetime.UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("type_", "width", "value", "lower"),
    [
        (Type.INT32, 10, 37, 30),
        (Type.INT32, 10, -1, -10),
        (Type.INT32, 10, 30, 30),
        (Type.INT32, 10, -(2**31), -(2**31)),
        (Type.INT64, 1000, 2**63 - 1, 9223372036854775000),
        (Type.INT64, 1000, -(2**63), -(2**63)),
        (Type.FLOAT64, 0.5, 1.74, 1.5),
        (Type.FLOAT64, 0.5, -0.1, -0.5),
        (Type.FLOAT64, 1e-5, 1e308, 1e308),
        (Type.FLOAT64, 1.7e308, -1e307, -1.7e308),
        (Type.FLOAT64, 1e308, -1.7e308, -1.7976931348623157e308),
        (Type.DECIMAL, 0.25, Decimal("1.99"), Decimal("1.75")),
        (Type.DECIMAL, 0.25, Decimal("-0.01"), Decimal("-0.25")),
        (Type.DECIMAL, 10, Decimal("12345678901234567890123456789.9"), Decimal("12345678901234567890123456780")),
        (Type.DATE, 7, datetime.date(1970, 1, 8), datetime.date(1970, 1, 8)),
        (Type.DATE, 7, datetime.date(1969, 12, 31), datetime.date(1969, 12, 25)),
        (Type.DATE, 1000, datetime.date.min, datetime.date.min),
        (Type.TIMESTAMP, 3600, utc(2013, 1, 1, 5, 17), utc(2013, 1, 1, 5)),
        (Type.TIMESTAMP, 86400, utc(1969, 12, 31, 5), utc(1969, 12, 31)),
        (Type.TIMESTAMP, 1e10, utc(1, 1, 1), utc(1, 1, 1)),
    ],
)
def test_generalise_gives_the_lower_end_of_the_bucket(type_: Type, width: float, value: Any, lower: Any) -> None:
    found = bucket(type_, width, value)
    assert found == lower
    assert type(found) is type(value)


def test_a_bucket_of_a_decimal_still_fits_its_digits() -> None:
    assert bucket(Type.DECIMAL, 10, Decimal("-9.9"), precision=2, scale=1) == Decimal("-9.9")


@pytest.mark.parametrize(
    ("type_", "width"),
    [(Type.INT32, 0.5), (Type.DATE, 1.5), (Type.STRING, 1), (Type.TIMESTAMP, 1e-9), (Type.INT64, 1e30)],
)
def test_a_width_that_does_not_fit(type_: Type, width: float) -> None:
    with pytest.raises(ValueError, match=r"bucket|generalise"):
        bucket(type_, width, 0)
    with pytest.raises(ValueError, match="no width"):
        generaliser(Field("x", type_))
