"""Patterns of fields: full match, and none that a hostile value can turn into minutes of backtracking."""

from __future__ import annotations

import re
import warnings
from typing import Any

MAX_LENGTH = 500
_MANY = 16
"""A repeat of a repeat is dangerous when both may go beyond this."""

_REPEATS = ("MAX_REPEAT", "MIN_REPEAT")


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The compiled pattern; use it with `fullmatch` (`$` and `\\n` hold no surprise then).

    Raises ValueError with the end of a sentence when it is no pattern, or nests repeats ambiguously ("(a+)+"), which
    takes exponential time on some values. A bound on the field's length is the defence against the polynomial rest.
    """
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"is longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            compiled = re.compile(pattern)
            # The parser of `re.compile` itself, so that both mean the same; its public name, `sre_parse`, is deprecated
            # since 3.11, and typeshed knows only that. Another Python must bring it: the tests parse every pattern.
            tree = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError, FutureWarning, DeprecationWarning) as error:
        said = str(error) if isinstance(error, re.error) else "it is too large or means two things"
        raise ValueError(f"is not a regular expression: {said}") from error
    if _explodes(tree, inside_repeat=False):
        raise ValueError(
            "can take exponential time on some values, because a repeat or an alternative stands inside a repeat "
            'without a separator, as in "(a+)+": write it without the inner repeat'
        )
    return compiled


def _explodes(items: Any, inside_repeat: bool) -> bool:
    """Whether a repeat body holds another variable repeat, or a choice, that its neighbours don't delimit."""
    sequence = list(items)
    for at, (op, args) in enumerate(sequence):
        name = str(op)
        following = sequence[(at + 1) % len(sequence)]
        if name in _REPEATS:
            low, high, body = args
            if inside_repeat and low != high and not _delimited(body, following):
                return True
            if _explodes(body, inside_repeat or int(high) > _MANY):
                return True
        elif name == "BRANCH":
            if inside_repeat and not _disjoint([_first(branch) for branch in args[1]]):
                return True
            if any(_explodes(branch, inside_repeat) for branch in args[1]):
                return True
        elif name in ("SUBPATTERN", "ATOMIC_GROUP"):
            body = args[-1] if name == "SUBPATTERN" else args
            if _explodes(body, inside_repeat):
                return True
    return False


def _delimited(body: Any, following: Any) -> bool:
    """Whether a repeat of one character class is followed by something that can't be in the class."""
    return len(list(body)) == 1 and _disjoint([_first(body), _first([following])])


def _first(items: Any) -> set[int] | None:
    """The characters that `items` may begin with (ASCII plus one stand-in for the rest); None when unknown."""
    sequence = list(items)
    if not sequence:
        return None
    name, args = str(sequence[0][0]), sequence[0][1]
    if name == "LITERAL":
        return {min(args, 128)}
    if name == "IN":
        return _members(args)
    if name == "SUBPATTERN":
        return _first(args[-1])
    if name in _REPEATS and args[0] > 0:
        return _first(args[2])
    return None


def _members(members: Any) -> set[int] | None:
    found: set[int] = set()
    for op, args in members:
        name = str(op)
        if name == "LITERAL":
            found.add(min(args, 128))
        elif name == "RANGE":
            found |= set(range(min(args[0], 128), min(args[1], 128) + 1))
        elif name == "CATEGORY" and str(args) == "CATEGORY_DIGIT":
            found |= {*range(48, 58), 128}
        else:
            return None
    return found


def _disjoint(sets: list[set[int] | None]) -> bool:
    seen: set[int] = set()
    for one in sets:
        if one is None or seen & one:
            return False
        seen |= one
    return True
