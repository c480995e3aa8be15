"""The elements of a JSON list and the members of an object, by brackets and commas alone, in linear time.

For texts that a decoder refuses for the sake of one element, which nests too deep or holds a lone surrogate: what
stands between the commas is not judged here. A text whose brackets, quotes or commas are wrong is refused whole: nobody
knows where its elements end.
"""

from __future__ import annotations

import re

from clearwell.errors import Retryable

MOST_TOKENS = 1_000_000
"""Brackets, commas and values of one text that are looked at, at most: less than a second's work."""

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_FLAT = rb'[\[{](?:[^\[\]{}"]++|' + _STRING + rb")*+[\]}]"
_TOKEN = re.compile(
    rb"[ \t\r\n]*+(?:(" + _FLAT + rb")|(" + _STRING + rb'|[^ \t\r\n\[\]{},:"]++)|([\[\]{},:]))', re.DOTALL
)
"""A list or object without others inside, a scalar, or punctuation. Nothing here is tried twice (possessive)."""

_NAME = re.compile(rb"[ \t\r\n]*+(" + _STRING + rb")[ \t\r\n]*+:", re.DOTALL)
_CLOSED_BY = {0x5B: 0x5D, 0x7B: 0x7D}


class NotJson(Retryable):
    """A text is no JSON as a whole, or a list is looked for where there is none."""

    def __init__(self, message: str = "The answer is no JSON, or has no list where one should be.") -> None:
        super().__init__(message)


class TooMany(Retryable):
    """A text has more elements or more brackets than may be looked at."""

    def __init__(self) -> None:
        super().__init__("The answer has too many elements: ask for smaller pages.")


def elements(text: bytes, most: int) -> list[bytes]:
    """The elements of the list that `text` is, as written. Raises NotJson, and TooMany when there are over `most`."""
    return _Splitter(text, most).parts()


def members(text: bytes, most: int) -> dict[bytes, bytes]:
    """The values by name, with its quotes, of the object that `text` is. Raises as `elements`."""
    pairs: dict[bytes, bytes] = {}
    for part in _Splitter(text, most).parts():
        name = _NAME.match(part)
        if name is None:
            raise NotJson
        pairs[name[1]] = part[name.end() :].strip()
    return pairs


class _Splitter:
    """Walks over one text once."""

    def __init__(self, text: bytes, most: int) -> None:
        self._text = text.strip(b" \t\r\n")
        self._most = most
        self._is_list = self._text[:1] == b"["
        self._parts: list[bytes] = []
        self._start = 1
        self._values = self._colons = 0  # at the first level, since the last comma

    def parts(self) -> list[bytes]:
        """What commas part at the first level."""
        text, position, open_brackets = self._text, 1, bytearray(self._text[:1])
        if not open_brackets or open_brackets[0] not in _CLOSED_BY:
            raise NotJson
        for _ in range(MOST_TOKENS):
            token = _TOKEN.match(text, position)
            if token is None:
                raise NotJson
            position, kind = token.end(), token.lastindex or 0
            level = len(open_brackets)
            first = text[token.start(kind)]
            if kind == 1 and text[position - 1] != _CLOSED_BY[first]:
                raise NotJson
            if kind != 3:
                self._values += level == 1
            elif first in _CLOSED_BY:
                open_brackets.append(first)
                self._values += level == 1
            elif first == 0x2C:
                if level == 1:
                    self._end_part(position - 1)
            elif first == 0x3A:
                self._colons += level == 1
            else:
                if first != _CLOSED_BY[open_brackets.pop()]:
                    raise NotJson
                if level == 1:
                    return self._end(position)
        raise TooMany

    def _end(self, position: int) -> list[bytes]:
        if position != len(self._text):
            raise NotJson
        if self._parts or self._values or self._colons:
            self._end_part(position - 1)
        return self._parts

    def _end_part(self, end: int) -> None:
        # What a value holds is not judged here: an odd one is a part as any other, so that its neighbours flow.
        sound = self._values and not self._colons if self._is_list else self._values >= 2 and self._colons == 1
        if not sound:
            raise NotJson
        if len(self._parts) == self._most:
            raise TooMany
        self._parts.append(self._text[self._start : end].strip(b" \t\r\n"))
        self._start, self._values, self._colons = end + 1, 0, 0
