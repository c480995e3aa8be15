"""One-way protections: pseudonym, hash, mask, generalise.

    pseudonym   cwp1.<base64url of 128 bits>   stable join key
    hash        cwh1.<base64url of 256 bits>   fingerprint, to compare values of one field of one stream
    mask        ***                            nothing is left
    generalise  the lower end of the bucket    numbers, timestamps, dates

Both are keyed BLAKE2b (RFC 7693, whose keyed mode is a MAC; three times as fast here as HMAC-SHA256). Keyed on purpose:
phone numbers or tail numbers are so few that an unkeyed SHA-256 of them is reversed by trying all. `hash` and
`pseudonym` are different domains of the same key, so one can't be looked up in the other.

A pseudonym is separated by stream and field: equal values elsewhere look different. Give two fields the same `domain`
and they join, wherever they are. The key is never rotated with the sealing keys, since a join key must stay stable.
"""

from __future__ import annotations

import datetime
import hashlib
import sys
from collections.abc import Callable
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any

from clearwell.contract.model import Field, Type
from clearwell.contract.values import INT_BOUNDS, width_misfit
from clearwell.privacy.encoding import base64url, length_prefixed
from clearwell.privacy.keyring import DataKey, Keyring

MASK = "***"
PSEUDONYM_MARK = "cwp1."
HASH_MARK = "cwh1."

OneWay = Callable[[bytes], str]
"""Clear bytes (see `clear_bytes`) → protected text. Deterministic; nothing leads back without the key."""


REMEMBERED = 10_000
"""How many values of one field are remembered with their pseudonyms; join keys repeat (0.1 against 0.9 µs)."""


def pseudonymiser(keyring: Keyring, stream: str, field: str, domain: str | None = None) -> OneWay:
    """The pseudonym function of one field; those that share a `domain` share pseudonyms. Raises Fatal without a key."""
    if domain is None:
        return _keyed(keyring.pseudonym_key(stream).secret, PSEUDONYM_MARK, 16, ("pseudonym", "field", stream, field))
    secret = keyring.pseudonym_key(f"domain:{domain}").secret  # no stream has a colon in its name
    return _keyed(secret, PSEUDONYM_MARK, 16, ("pseudonym", "domain", domain))


def hasher(keyring: Keyring, stream: str, field: str) -> OneWay:
    """The hash function of one field. Raises Fatal without a key."""
    return _keyed(keyring.pseudonym_key(stream).secret, HASH_MARK, 32, ("hash", "field", stream, field))


def _keyed(secret: bytes, mark: str, size: int, context: tuple[str, ...]) -> OneWay:
    start = hashlib.blake2b(b"".join(map(length_prefixed, context)), key=secret, digest_size=size)
    known: dict[bytes, str] = {}

    def protect(clear: bytes) -> str:
        pseudonym = known.get(clear)
        if pseudonym is None:
            digest = start.copy()
            digest.update(clear)
            if len(known) >= REMEMBERED:
                known.clear()
            pseudonym = known[clear] = mark + base64url(digest.digest())
        return pseudonym

    return protect


def derive_key(root: bytes, stream: str) -> DataKey:
    """A stream's pseudonym key from the 32-byte `root` of a keyring, so that one stored secret serves all streams."""
    context = length_prefixed("clearwell pseudonym key") + length_prefixed(stream)
    return DataKey("pseudonym", hashlib.blake2b(context, key=root, digest_size=32).digest())


def generaliser(field: Field) -> Callable[[Any], Any]:
    """A function from a Python value of `field` to the lower end of its bucket, of the same type.

    The width (`field.privacy.width`) is in the field's unit; days for a date, seconds for a timestamp. Buckets are
    counted from 0, dates and timestamps from 1970-01-01 UTC. A bucket that begins below what the type holds is given
    the type's lowest value. Raises ValueError when the width does not fit the field.
    """
    width = field.privacy.width if field.privacy else None
    if width is None:
        raise ValueError(f'"{field.name}" has no width to generalise by')
    wrong = width_misfit(field.type, width, field.scale)
    if wrong:
        raise ValueError(wrong)
    if field.type in INT_BOUNDS:
        return _bucket_of_integer(int(width), INT_BOUNDS[field.type][0])
    if field.type is Type.FLOAT64:
        return _bucket_of_float(width)
    if field.type is Type.DECIMAL:
        # As many digits after the point as the field has: 10.0 times a 37-digit number would have one too many.
        return _bucket_of_decimal(Decimal(repr(width)).quantize(Decimal(1).scaleb(-field.scale), context=_WIDE), field)
    if field.type is Type.DATE:
        return _bucket_of_date(int(width))
    return _bucket_of_timestamp(datetime.timedelta(seconds=width))


_WIDE = Context(prec=700)


def _bucket_of_integer(width: int, lowest: int) -> Callable[[int], int]:
    return lambda value: max(value // width * width, lowest)


def _bucket_of_float(width: float) -> Callable[[float], float]:
    """Exact in the decimals that people write: 0.3 is the beginning of a bucket of 0.1, though 0.3 // 0.1 is 2."""
    highest = sys.float_info.max
    exact, decimal_width = Context(prec=700), Decimal(repr(width))  # float64 spans 633 digits

    def bucket(value: float) -> float:
        written = Decimal(repr(value))
        count = exact.divide_int(written, decimal_width)
        lower = exact.multiply(count, decimal_width)
        if lower > written:
            lower = exact.subtract(lower, decimal_width)
        return max(float(lower), -highest)

    return bucket


def _bucket_of_decimal(width: Decimal, field: Field) -> Callable[[Decimal], Decimal]:
    exact = Context(prec=100)
    lowest = Decimal((1, (9,) * field.precision, -field.scale))

    def bucket(value: Decimal) -> Decimal:
        count = exact.divide(value, width).to_integral_value(ROUND_FLOOR, exact)
        return max(exact.multiply(count, width), lowest)

    return bucket


def _bucket_of_date(days: int) -> Callable[[datetime.date], datetime.date]:
    epoch = datetime.date(1970, 1, 1).toordinal()
    return lambda value: datetime.date.fromordinal(max(1, (value.toordinal() - epoch) // days * days + epoch))


def _bucket_of_timestamp(width: datetime.timedelta) -> Callable[[datetime.datetime], datetime.datetime]:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    lowest = datetime.datetime.min.replace(tzinfo=datetime.UTC) - epoch
    return lambda value: epoch + max((value - epoch) // width * width, lowest)
