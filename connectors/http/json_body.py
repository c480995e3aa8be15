"""Records cut out of a JSON answer as bytes, so that numbers and spellings pass through untouched."""

from __future__ import annotations

import re
from contextlib import suppress

import msgspec

from clearwell.errors import ConfigError
from connectors.http.split import NotJson, TooMany, elements, members

MOST_ITEMS = 1_000_000
"""Elements of one list, at most."""

_FEW_COMMAS = 200_000
"""A text with more is not decoded in one go: that would hold up all other threads for longer than a moment."""

_SURROGATE = re.compile(rb"\\(?:u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL)
Path = tuple[str, ...]


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
        inside = _members(text)
        if isinstance(inside, list):
            value = inside[int(part)] if _is_index(part, len(inside)) else None
        else:
            value = inside.get(part)
        if value is None:
            return None
        text = value
    return text


def records(text: bytes, path: Path) -> list[bytes] | None:
    """The elements of the list at `path`; null has none, and None stands for a list that is missing. Raises NotJson."""
    value = find(text, path)
    if value is None:
        return None
    return [] if value.strip() == b"null" else list_items(value)


def tells_of_an_error(text: bytes) -> bool:
    """Whether an answer is an object that says so by `error`, `errors`, or by `ok` or `success` that is false."""
    try:
        said = msgspec.json.decode(text, type=_Said)
    except Exception:  # hostile data raises outside msgspec's own errors too
        return False
    nothing = (b"", b"null", b"false", b"[]", b"{}", b'""', b"0")
    errors = any(bytes(value).strip() not in nothing for value in (said.error, said.errors))
    return errors or any(bytes(value).strip() == b"false" for value in (said.ok, said.success))


class _Said(msgspec.Struct):
    """What an answer may say of itself."""

    error: msgspec.Raw = msgspec.Raw()
    errors: msgspec.Raw = msgspec.Raw()
    ok: msgspec.Raw = msgspec.Raw()
    success: msgspec.Raw = msgspec.Raw()


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
    text = text.lstrip(b" \t\r\n")
    if text[:1] == b"[":
        return list_items(text)
    if text[:1] != b"{":
        require_json(text)
        return {}
    if text.count(b",") <= _FEW_COMMAS:
        with suppress(Exception):  # hostile data raises outside msgspec's own errors too
            return {key: bytes(value) for key, value in msgspec.json.decode(text, type=dict[str, msgspec.Raw]).items()}
    return {_name(key): value for key, value in members(text, MOST_ITEMS).items()}


def list_items(text: bytes, most: int = MOST_ITEMS) -> list[bytes]:
    """The elements of the list that `text` is, as written: one that nests too deep, or holds a lone surrogate, is one
    of them, so that its neighbours flow (invariant 5).

    Raises NotJson when the text is no list, TooMany when it has over `most` elements.
    """
    if text.lstrip(b" \t\r\n")[:1] != b"[":
        raise NotJson
    if text.count(b",") <= _FEW_COMMAS:
        with suppress(Exception):
            items = [bytes(item) for item in msgspec.json.decode(text, type=list[msgspec.Raw])]
            if len(items) <= most:
                return items
    return elements(text, most)


def events_of(message: bytes) -> list[bytes] | None:
    """The elements of a message that is a list of objects, as a webhook takes one apart; None for what is one event,
    whatever it is: a list of other things, and a broken one, since nobody can be told to send another.
    """
    if message.lstrip(b" \t\r\n")[:1] != b"[":
        return None
    try:
        items = list_items(message)
    except (NotJson, TooMany):
        return None
    return items if all(item[:1] == b"{" for item in items) else None


def require_json(text: bytes) -> None:
    """Raises NotJson unless `text` is JSON: its depth and lone surrogates are not looked at."""
    for attempt in (text, _SURROGATE.sub(_as_letter, text)):
        try:
            msgspec.json.decode(attempt, type=msgspec.Raw)
        except RecursionError:
            return
        except Exception:  # noqa: S112 - whatever hostile data raises: it is no JSON
            continue
        return
    raise NotJson


def is_lines(text: bytes) -> bool:
    """Whether `text` is JSON a line, not one JSON value over one line or many."""
    first, _, rest = text.partition(b"\n")
    return (bool(rest.strip()) and _is_json(first)) or not _is_json(text)


def _is_json(text: bytes) -> bool:
    try:
        require_json(text)
    except NotJson:
        return False
    return True


def _as_letter(escape: re.Match[bytes]) -> bytes:
    return b"A" if escape[0][1:2] == b"u" else escape[0]


def _name(text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except Exception:  # a lone surrogate is no text
        return text[1:-1].decode(errors="replace")
