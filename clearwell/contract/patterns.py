"""Patterns of contracts, by RE2: the time a value takes grows with its length alone, whatever pattern and value are.

The language is RE2's (https://github.com/google/re2/wiki/Syntax). Against Python's `re`: no look-around, no
back-references, no possessive repeats; `\\d`, `\\w`, `\\s` and `\\b` know ASCII alone (`\\p{L}` is a letter of any
language); `$` is the very end, `\\z` too, and `\\Z` is not known; a repeat goes to 1,000.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache

import re2

from clearwell.errors import ClearwellError

MAX_LENGTH = 500
"""Characters of a pattern."""

MAX_PROGRAM = 200_000
"""Instructions that a pattern may be compiled to."""

MEMORY = 33_554_432
"""Bytes that a pattern and what its matches remember may take at most."""

WORK = 200_000_000
"""Instructions times bytes that a match may take at worst: about half a second."""

MAX_SECONDS = 1.0
"""Seconds of processor time that one replacement may take. Looking for the next match costs the rest of the text at
worst, so that some patterns need the square of its length."""

MAX_REPLACED = 8_388_608
"""Bytes that a text may grow to by replacement."""

_LOOK_AT_CLOCK = 16
_UNANCHORED, _WHOLE = re2._Anchor.UNANCHORED, re2._Anchor.ANCHOR_BOTH  # RE2's own binding: a seventh of the wrapper's
# time, and the wrapper finds `$` twice; tests/unit/contract/test_patterns.py fails when it changes

_NOT_THERE = (
    (r"\(\?<?[=!]", "look-around", "match what stands there too, or use a second step"),
    (r"\\[1-9]|\(\?P=", "a back-reference", "write the text out"),
    (r"\(\?\(", "a conditional group", "write two alternatives"),
    (r"\(\?>|[*+?}]\+", "an atomic group or possessive repeat", "leave it out: nothing is tried twice here"),
    (r"\\Z", r"\Z", r"leave it out of a field's pattern, which the whole value matches; elsewhere write \z or $"),
    (r"\\[uUN]", r"\u, \U or \N", r"write \x{00e9}, or the character itself"),
    (r"\(\?[aiLmsux-]*[aLux]", "a flag but i, m, s and U", r"\d, \w and \s are ASCII; for others write \p{L} or \p{N}"),
    (r"\(\?#", "a comment", "leave it out"),
)
"""What Python's patterns have and RE2's don't: how it looks, what it is, what to do."""

_TOKEN = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\{,[0-9]+\}|.", re.DOTALL)


class TooMuchWork(ClearwellError):
    """A value and a pattern together would take too long, or make a text that is too large."""


class Pattern:
    """A compiled pattern. `longest` is how many characters a value may have to be matched within WORK."""

    def __init__(self, text: str) -> None:
        """Raises ValueError as `compile_pattern` does."""
        options = re2.Options()
        options.never_capture = True
        options.log_errors = False
        options.max_mem = MEMORY
        try:
            compiled = re2.compile(text, options=options)
        except (re2.error, UnicodeEncodeError) as error:
            raise ValueError(_why(text, error)) from None
        if compiled.programsize > MAX_PROGRAM:
            raise ValueError("is too large: write it with fewer or smaller repeats")
        self.text = text
        self.longest = WORK // compiled.programsize
        self._find = compiled._regexp.Match

    def fullmatch(self, value: str) -> bool:
        """Whether the whole value matches."""
        data = value.encode()
        return bool(self._find(_WHOLE, data, 0, len(data))[0][0] == 0)

    def replace(self, value: str, by: str) -> str:
        """`value` with the text `by`, taken as it is, for each match. Raises TooMuchWork.

        Matches are looked for from left to right; an empty one counts beside the end of another, as in Python's `sub`.
        """
        data, text, find = value.encode(), by.encode(), self._find
        at, copied, size, count, pieces = 0, 0, len(data), 0, list[bytes]()
        began = time.thread_time()
        while at <= size:
            start, end = find(_UNANCHORED, data, at, size)[0]
            if start < 0:
                break
            pieces += (data[copied:start], text)
            copied, count = end, count + 1
            at = end if end > start else _next_character(data, end)
            if count % _LOOK_AT_CLOCK == 0 and time.thread_time() - began > MAX_SECONDS:
                raise TooMuchWork("A replacement took too long.")
            if count * len(text) > MAX_REPLACED:
                raise TooMuchWork("A replacement made a text that is too large.")
        return (b"".join(pieces) + data[copied:]).decode() if pieces else value


def _next_character(data: bytes, at: int) -> int:
    """Where the character after the one at `at` begins."""
    at += 1
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


@lru_cache(maxsize=1_000)
def compile_pattern(text: str) -> Pattern:
    """The compiled pattern. Raises ValueError with the end of a sentence ("is not ...") that says what to do."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    for part in _TOKEN.findall(text):
        if part.startswith("{,"):  # RE2 takes it for text, Python for 0 to so many
            raise ValueError(f'holds "{part}": write "{{0{part[1:]}"')
        if part == r"\C":
            raise ValueError(r'holds "\C", a part of a character: write "(?s:.)"')
    return Pattern(text)


def _why(text: str, error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return "holds half of a character (a lone surrogate)"
    outside = "".join(part for part in _TOKEN.findall(text) if part[0] != "[" and part != "\\\\")
    for look, what, instead in _NOT_THERE:
        if re.search(look, outside):
            return f"holds {what}, which patterns here don't have: {instead}"
    said = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    return f"is not a regular expression (RE2): {said}"
