"""Records cut out of a JSON answer as bytes, so that numbers and spellings pass through untouched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from clearwell.errors import ConfigError, Retryable

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+', re.DOTALL)
Path = tuple[str, ...]


class NotJson(Retryable):
    """A text is no JSON as a whole, or a list is looked for where there is none."""

    def __init__(self, message: str = "The answer is no JSON, or has no list where one should be.") -> None:
        super().__init__(message)


def path_of(text: str) -> Path:
    """The parts of "data.items", or of the JSON pointer "/data/items" (RFC 6901); "" is the whole answer."""
    if text.startswith("/"):
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))
    return tuple(text.split(".")) if text else ()


def find(text: bytes, path: Path) -> bytes | None:
    """The value at `path`, as written; None where there is none. A part that is a number also counts in a list.

    Raises NotJson.
    """
    for part in path:
        members = _members(text)
        if isinstance(members, list):
            found = members[int(part)] if _is_index(part, len(members)) else None
        else:
            found = members.get(part)
        if found is None:
            return None
        text = found
    return text


def records(text: bytes, path: Path) -> list[bytes]:
    """The elements of the list at `path`; null and a missing list have none. Raises NotJson."""
    found = find(text, path)
    if found is None or found.strip() in (b"", b"null"):
        return []
    members = _members(found)
    if not isinstance(members, list):
        raise NotJson
    return members


def scalar(text: bytes | None) -> str | None:
    """A string's content, or a number as written; None for null, "", true, false and what is no scalar."""
    if text is None:
        return None
    if text[:1] == b'"':
        try:
            return msgspec.json.decode(text, type=str) or None
        except Exception:  # a lone surrogate is no text
            return None
    return text.decode() if re.fullmatch(rb"-?[0-9][0-9.eE+-]*", text) else None


def dotted(text: str, option: str) -> Path:
    """`path_of` for an option that must name something. Raises ConfigError."""
    if not text.strip("/."):
        raise ConfigError(f'`{option}` names nothing: write a path such as "data.items".')
    return path_of(text)


def _is_index(part: str, length: int) -> bool:
    return re.fullmatch("-?[0-9]{1,9}", part) is not None and -length <= int(part) < length


def _members(text: bytes) -> list[bytes] | dict[str, bytes]:
    """A list's elements or an object's values, as written; a scalar has none."""
    first = text.lstrip()[:1]
    try:
        if first == b"[":
            return [bytes(one) for one in msgspec.json.decode(text, type=list[msgspec.Raw])]
        return {key: bytes(one) for key, one in msgspec.json.decode(text, type=dict[str, msgspec.Raw]).items()}
    except Exception:  # one record nests too deep, or holds a lone surrogate: its neighbours still flow (invariant 5)
        return _cut(text, first == b"[")


def _cut(text: bytes, is_list: bool) -> list[bytes] | dict[str, bytes]:
    """As `_members`, by brackets and commas alone: what stands between them is not judged."""
    parts = list(_parts(text))
    if is_list:
        return [part for part in parts if part]
    pairs: dict[str, bytes] = {}
    for part in parts:
        name = re.match(rb'"(?:[^"\\]|\\.)*"', part, re.DOTALL)
        rest = part[name.end() :].lstrip() if name else b""
        if not name or rest[:1] != b":":
            if part:
                raise NotJson
            continue
        pairs[name[0][1:-1].decode(errors="replace")] = rest[1:].strip()
    return pairs


def _parts(text: bytes) -> Iterator[bytes]:
    """What commas part at the first level of the one list or object that `text` is. Raises NotJson."""
    open_brackets = bytearray()
    start = 0
    for found in _TOKEN.finditer(text):
        token: Any = found[0]
        if token in (b"[", b"{"):
            open_brackets += token
            start = found.end() if len(open_brackets) == 1 else start
        elif token in (b"]", b"}"):
            if not open_brackets or open_brackets.pop() != {b"]": 0x5B, b"}": 0x7B}[token]:
                raise NotJson
            if not open_brackets:
                if text[found.end() :].strip():
                    raise NotJson
                yield text[start : found.start()].strip()
                return
        elif not open_brackets:
            raise NotJson
        elif token == b"," and len(open_brackets) == 1:
            yield text[start : found.start()].strip()
            start = found.end()
    raise NotJson
