"""What a suite must be given to prove a source (a case over a real server), and what it puts in: secrets, bad data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
import msgspec.inspect as shapes

from clearwell.errors import ClearwellError
from clearwell.plugins.annotations import SECRETS, alternatives
from clearwell.source import EVENT_LIMIT


class SourceCase(Protocol):
    """One configured source over a real server, with events that are numbered from 0."""

    @property
    def kind(self) -> str:
        """The source's entry point."""

    @property
    def config(self) -> Mapping[str, Any]:
        """What a connector's specification would hold; secrets as references."""

    @property
    def finite(self) -> bool:
        """Whether `read` ends by itself once all is read."""

    def fill(self, count: int) -> None:
        """Add the next `count` events: {"id": "k<N>", "at": "2026-01-01T00:00:00Z", "n": N}."""

    def number(self, data: bytes) -> int:
        """The N of an event's data as the source gives it. Raises any Exception when it has none."""


class CarriesAnything(SourceCase, Protocol):
    """A case whose source can carry arbitrary bytes."""

    def put(self, data: bytes) -> bool | None:
        """Add one event with just these bytes; False where the source can't carry them at all."""


HOSTILE: Mapping[str, bytes] = {
    "no JSON": b"not json",
    "cut off": b'{"id":"x","n":',
    "no UTF-8": b'\xff\xfe\xfa{"id":1}',
    "a lone surrogate": b'{"id":"\\ud800","n":1}',
    "NUL bytes": b'{"id":"\x00\x00"}\x00',
    "an escaped NUL": b'{"id":"a\\u0000b"}',
    "another type": b"[1,2,3]",
    "a number": b"42",
    "null": b"null",
    "a text": b'"just text"',
    "an empty object": b"{}",
    "deep nesting": b'{"id":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "keys twice": b'{"id":"a","id":"b","id":null}',
    "a huge number": b'{"id":"h","n":' + b"9" * 5_000 + b"}",
    "an exponent": b'{"id":"e","n":1e999999}',
    "NaN": b'{"id":"n","n":NaN}',
    "a control character": b'{"id":"\x1b[31mred\x07"}',
    "a template": b'{"id":"${env:PATH}","n":"{{7*7}} %s {0}"}',
    "SQL": b'{"id":"\'; DROP TABLE events; --"}',
    "an empty id": b'{"id":"","n":0}',
    "a null id": b'{"id":null,"n":0}',
    "an object for an id": b'{"id":{"a":[1]},"n":0}',
    "a large id": b'{"id":"' + b"i" * 100_000 + b'"}',
    "too large": b'{"id":"big","x":"' + b"x" * EVENT_LIMIT + b'"}',
}
"""Payloads without a newline that no source may stumble over: each is one event, passed on or refused."""


CANARY = "canary-7f3a1c"
"""How every planted secret begins."""


@dataclass
class Planted:
    """A configuration whose secrets are canaries."""

    config: Any
    canaries: list[str] = field(default_factory=list)


def plant(config: msgspec.Struct) -> Planted:
    """A copy of `config` with a canary in every secret, also in those that are not set; structs inside too."""
    planted = Planted(config)
    planted.config = _planted(config, planted.canaries)
    return planted


def _planted(value: msgspec.Struct, canaries: list[str]) -> msgspec.Struct:
    described = shapes.type_info(type(value))
    assert isinstance(described, shapes.StructType)
    changes: dict[str, Any] = {}
    for one in described.fields:
        changes[one.name] = _replaced(getattr(value, one.name), _marks(one.type), canaries)
    return msgspec.structs.replace(value, **changes)


def _marks(kind: shapes.Type) -> frozenset[str]:
    """The marks of a type, and of what a list or map of it holds."""
    found: frozenset[str] = frozenset()
    for one, marks in alternatives(kind):
        inside = getattr(one, "value_type", None) or getattr(one, "item_type", None)
        found |= marks | (_marks(inside) if isinstance(inside, shapes.Type) else frozenset())
    return found


def _replaced(value: Any, marks: frozenset[str], canaries: list[str]) -> Any:
    if isinstance(value, msgspec.Struct):
        return _planted(value, canaries)
    if isinstance(value, dict):
        return {key: _replaced(inner, marks, canaries) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_replaced(inner, marks, canaries) for inner in value)
    how = {SECRETS[mark] for mark in marks if mark in SECRETS}
    if "whole" in how and isinstance(value, str | None):
        return _new(canaries)
    if "in url" in how and isinstance(value, str):
        return _with_password(value, canaries)
    return value


def _with_password(url: str, canaries: list[str]) -> str:
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user.partition(':')[0] or 'user'}:{_new(canaries)}@{place}").geturl()


def _new(canaries: list[str]) -> str:
    canaries.append(f"{CANARY}-{len(canaries)}")
    return canaries[-1]


def require_clear(error: ClearwellError) -> None:
    """Assert that an error's text is one sentence for a person."""
    text = str(error)
    assert text and "\n" not in text, f"The message is not one line: {text!r}."
    assert text[0].upper() == text[0] or not text[0].isalpha() or "/" in text.split()[0] or "." in text.split()[0], (
        f"The message is no sentence: {text!r}."
    )
    assert text.rstrip()[-1] in ".!?", f"The message does not end like a sentence: {text!r}."
    assert len(text) < 600, f"The message has {len(text)} characters."
    assert "Traceback" not in text and "object at 0x" not in text, f"The message is not for people: {text!r}."
