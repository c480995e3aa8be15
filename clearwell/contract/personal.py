"""Which fields of sample events are likely personal: by what their values look like, and by how they are called.

A guess for a person to look over, made to err towards protection. Nothing here keeps or returns a value.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SHARE = 0.2
"""The share of a field's values that must look personal, so that mixed fields are noticed and chance hits are not."""

LOOKED_AT = 2_000
"""Characters of a value that are looked at."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@.]{1,63}\.[^\s@]{2,}")
_PHONE = re.compile(r"\+[0-9][0-9 ().-]{5,18}[0-9]|\(?[0-9]{3}\)?[-. ][0-9]{3}[-. ][0-9]{4}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[3-6][0-9]{12,18}")
_SSN = re.compile(r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}")
_NINO = re.compile(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][0-9]{6}[A-D]")
_ADDRESS = re.compile(
    r"[0-9]{1,6}[A-Za-z]?,? +([^\W\d_][\w.'-]* +){1,5}"
    r"(street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|square|sq|terrace)\b"
    r"|[^\W\d_][\w. '-]{0,60}(stra(ß|ss)e|str\.|weg|gasse|platz|allee) *[0-9]{1,5}\b",
    re.IGNORECASE,
)
_PERSON = re.compile(r"[^\W\d_a-z][^\W\d_]+([ '-][^\W\d_]\.?|[ '-][^\W\d_a-z][^\W\d_]+){1,3}")

_WHO = (
    "first|last|full|given|family|middle|maiden|nick|user|customer|contact|passenger|employee|patient|person|player"
    "|member|guest|driver|owner|author|account_holder|card_?holder|recipient|sender|beneficiary|student|applicant"
)
_CALLED = (
    ("an e-mail address", "e_?mail|mail"),
    ("a phone number", "phone|mobile|telephone|tel|cell|cellphone|fax|msisdn"),
    ("a payment card", "card_number|card_no|cardnumber|cc_number|credit_card|debit_card|pan|cvv|cvc"),
    ("a bank account", "iban|account_number|bank_account|routing_number|sort_code"),
    ("a national id", "ssn|social_security|nino|national_insurance|national_id|passport|tax_id|licen[cs]e_number|nhs"),
    ("an IP address", "ip|ipv4|ipv6|remote_addr|client_addr"),
    ("a date of birth", "dob|birth|birthday|birthdate|born"),
    ("a person's name", rf"({_WHO})_?name|surname|forename|firstname|lastname|fullname|cardholder|username|login"),
    ("a postal address", "street|address|addr|postcode|postal|zip|zipcode"),
)
_NAMED = tuple((what, re.compile(rf"(.*_)?({words})(_.*)?")) for what, words in _CALLED)
_ABOUT = re.compile(
    r".*_(count|type|kind|status|flag|verified|enabled|sent|at|time|valid|opt_in|provider|domain|model|brand|version)"
    r"|(.*_)?(mac|web|memory|contract|wallet|shipping_method)_.*|(is|has|num|number_of)_.*"
)
"""Names that say something about such a field and are none: `email_verified`, `phone_type`, `mac_address`."""


def likely_personal(name: str, values: Sequence[Any]) -> str | None:
    """What a field likely holds of a person, as words for a comment ("looks like an e-mail address"), or None.

    `values` are its sample values, as decoded from JSON; what lies inside maps and lists counts too.
    """
    by_name: dict[str, list[Any]] = {}
    for value in values:
        for inner, leaf in _leaves(name, value):
            by_name.setdefault(inner, []).append(leaf)
    for inner, leaves in by_name.items():
        kind = _looks(inner, leaves) or _called(inner, leaves)
        if kind:
            return kind if inner == name else f"holds something that {kind}"
    return None


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value that is no map or list, with the name of the nearest key above it."""
    waiting = [(name, value)]
    while waiting:
        called, leaf = waiting.pop()
        if isinstance(leaf, dict):
            waiting += [(str(key), inner) for key, inner in leaf.items()]
            waiting += [(called, str(key)) for key in leaf]  # a map from e-mail addresses is personal too
        elif isinstance(leaf, list | tuple):
            waiting += [(called, inner) for inner in leaf]
        elif leaf is not None:
            yield called, leaf


def _looks(name: str, values: Sequence[Any]) -> str | None:
    texts = [
        str(value)[:LOOKED_AT].strip()
        for value in values
        if isinstance(value, str | int) and not isinstance(value, bool)
    ]
    texts = [text for text in texts if text]
    if any(map(_is_email, texts)):  # one is enough: nothing else looks so by chance
        return "looks like an e-mail address"
    for what, test in _TESTS:
        if texts and sum(map(test, texts)) >= SHARE * len(texts):
            return f"looks like {what}"
    if "name" in _words(name) and texts and sum(map(_is_person, texts)) >= len(texts) / 2:
        return "looks like a person's name"
    return None


def _called(name: str, values: Sequence[Any]) -> str | None:
    if not any(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
        return None
    joined = "_".join(_words(name))
    for what, pattern in _NAMED:
        if pattern.fullmatch(joined) and (what == "a date of birth" or not _ABOUT.fullmatch(joined)):
            return f"is called like {what}"
    return None


def _words(name: str) -> list[str]:
    """`shippingAddress2` → shipping, address, 2."""
    return [word.lower() for word in _WORDS.findall(name[:LOOKED_AT])]


def _is_email(text: str) -> bool:
    return "@" in text and _EMAIL.search(text) is not None


def _is_phone(text: str) -> bool:
    return _PHONE.fullmatch(text) is not None


def _is_card(text: str) -> bool:
    """A number of 13 to 19 digits of the card networks whose check digit is right (Luhn, ISO/IEC 7812-1)."""
    digits = text.replace(" ", "").replace("-", "")
    if not _CARD.fullmatch(digits) or len(set(digits)) < 2:
        return False
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(doubled_digit - 9 if doubled_digit > 9 else doubled_digit for doubled_digit in doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: the country and check digits moved to the end, letters as 10 to 35, leave 1 of 97."""
    squeezed = text.replace(" ", "")
    if not _IBAN.fullmatch(squeezed):
        return False
    return int("".join(str(int(letter, 36)) for letter in squeezed[4:] + squeezed[:4])) % 97 == 1


def _is_national_id(text: str) -> bool:
    """A US social security number or a UK national insurance number, as their issuers bound them."""
    return _SSN.fullmatch(text) is not None or _NINO.fullmatch(text.replace(" ", "").upper()) is not None


def _is_ip(text: str) -> bool:
    if text.count(".") != 3 and text.count(":") < 2:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_address(text: str) -> bool:
    return _ADDRESS.search(text[:200]) is not None


def _is_person(text: str) -> bool:
    return len(text) < 80 and _PERSON.fullmatch(text) is not None


_TESTS: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("a payment card", _is_card),
    ("a bank account", _is_iban),
    ("a national id", _is_national_id),
    ("a phone number", _is_phone),
    ("an IP address", _is_ip),
    ("a postal address", _is_address),
)
