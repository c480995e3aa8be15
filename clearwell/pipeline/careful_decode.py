"""The careful look at one raw event: everything that the fast decoder does not see.

The fast decoder takes the last of duplicate keys, skips unknown values without reading them, and lets NUL through.
An event that could hold any of these is looked at here; the generated code knows when one can't (see `decode`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jiter

from clearwell.contract.model import Field, Type
from clearwell.contract.values import INT_BOUNDS

MAX_DEPTH = 64
"""Levels of nesting in a json field or an unknown field; stores refuse a little more than this (MongoDB: 100)."""

LOWEST, HIGHEST = INT_BOUNDS[Type.INT64]


class BadEvent(Exception):
    """The present event is bad data; caught around each event and made a `Rejected`."""

    def __init__(self, reason: str, step: str, field: str = "") -> None:
        super().__init__(reason)
        self.reason, self.step, self.field = reason, step, field


def inspector(fields: Iterable[Field]) -> Callable[[bytes], dict[str, Any]]:
    """A function that gives the bytes of an event as a dict, after a full reading; `fields` are the declared ones.

    It raises BadEvent for text that is not UTF-8 or JSON, not an object, holds a key twice, NUL, a lone surrogate, or,
    in json and undeclared fields (the fast decoder judges the others), nesting or numbers beyond what stores hold.
    """
    fields = tuple(fields)
    declared = frozenset(field.name for field in fields)
    plain = frozenset(field.name for field in fields if field.type is not Type.JSON)

    def inspect(value: bytes) -> dict[str, Any]:
        event = _parse(value)
        if not isinstance(event, dict):
            raise BadEvent("the event is JSON, but not an object", "decode")
        for name in [name for name in event if name not in plain]:
            if "\0" in name:
                raise BadEvent("a key holds the character NUL", "decode")
            check_json(event[name], name if name in declared else "")
        if b"\\u0000" in value:  # the only way to write NUL in JSON
            for name in [name for name in event if name in plain]:
                _refuse_nul(event[name], name)
        return event

    return inspect


def _parse(value: bytes) -> Any:
    try:
        return jiter.from_json(value, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError as error:
        raise BadEvent(_why(value, str(error)), "decode") from None


def _why(value: bytes, said: str) -> str:
    """One of a few fixed reasons; the parser's own words would quote data (invariant 9)."""
    if not value or value.isspace():
        return "the event is empty"
    if value.startswith(b"\xef\xbb\xbf"):
        return "the event begins with a byte order mark"
    try:
        value.decode()
    except UnicodeDecodeError:
        return "the event is not UTF-8"
    if said.startswith("Detected duplicate key"):
        return "a key is written twice in one object"
    if "recursion limit" in said:
        return "the event is nested too deep"
    if "surrogate" in said or "hex escape" in said:
        return "a string holds half of a character (a lone surrogate)"
    if "number out of range" in said:
        return "a number is too large"
    return "the event is not JSON"


def _refuse_nul(inner: Any, field: str) -> None:
    for value in inner if isinstance(inner, list) else [inner]:
        if isinstance(value, str) and "\0" in value:
            raise BadEvent(f"{field} holds the character NUL", "validate", field)


def check_json(value: Any, field: str) -> None:
    """Raise BadEvent when a JSON value is nested deeper than MAX_DEPTH, or holds NUL or a number beyond the stores."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise _unfit(f"nested deeper than {MAX_DEPTH} levels", field)
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                if any("\0" in name for name in node):
                    raise _unfit("has a key that holds the character NUL", field)
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
            elif isinstance(node, str):
                if "\0" in node:
                    raise _unfit("holds the character NUL", field)
            elif isinstance(node, int):
                if not LOWEST <= node <= HIGHEST:
                    raise _unfit("holds a whole number that does not fit int64", field)
            elif isinstance(node, float) and node - node != 0:
                raise _unfit("holds a number that does not fit float64", field)
        level, depth = below, depth + 1


def _unfit(what: str, field: str) -> BadEvent:
    return BadEvent(f"{field or 'an undeclared field'} {'is ' * what.startswith('nested')}{what}", "validate", field)
