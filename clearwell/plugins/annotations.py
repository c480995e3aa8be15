"""What the marks on a configuration's types ask for: secrets are references, paths are meant from the spec file.

Marks (`PATH`, `SECRET`, `SECRET_IN_URL`) are found in structs, tagged unions, lists and dicts, however deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import msgspec.inspect as shapes

from clearwell.errors import ConfigError
from clearwell.plugins.secret_texts import is_secret_name, looks_secret
from clearwell.secret_references import has_reference, without_references
from clearwell.source import PATH, SECRET, SECRET_IN_URL

REFERENCE = "\ue000"
"""What stands for a reference while a URL is taken apart; a reference may hold slashes and colons itself."""

_PATH, _SECRET, _SECRET_IN_URL = (str((mark.extra or {})["clearwell"]) for mark in (PATH, SECRET, SECRET_IN_URL))
SECRETS = {_SECRET: "whole", _SECRET_IN_URL: "in url"}
"""The marks of secrets, and how much of the value each means."""

_FREE = "free"
_LISTS = (shapes.ListType, shapes.VarTupleType, shapes.SetType, shapes.FrozenSetType)

Change = Callable[[str, Any, frozenset[str]], Any]
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PASSWORD = re.compile(r"[^:]*:(?P<password>.*)@", re.DOTALL)
_WEB = ("http", "https", "ws", "wss")


def require_references(
    shape: type[msgspec.Struct], config: dict[str, Any], source: str, plain: Collection[str] = ()
) -> None:
    """Raise ConfigError, naming the key and no value, when a secret of `config` is written in the clear.

    A secret is exactly one reference (invariant 10). A URL, marked or not, has a reference for its password and for
    what its query calls a password, token or key. So has a free map for what its keys call so. What looks like a secret
    is taken for one wherever it stands, unless `plain` says of the option's name that it is none.
    """

    def judge(path: str, value: Any, marks: frozenset[str]) -> Any:
        wrong = _wrong(path, value, marks, plain)
        if wrong:
            raise ConfigError(f"{source}: {path} {wrong}")
        return value

    _walk(shapes.type_info(shape), config, "config", frozenset(), judge)


def absolute_paths(shape: type[msgspec.Struct], config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`config` with its paths made absolute from `folder`; URLs and what begins with a reference stay as they are."""

    def change(path: str, value: Any, marks: frozenset[str]) -> Any:
        if _PATH not in marks or value.startswith("${") or _URL.match(value):
            return value
        return str(folder / value)

    made: dict[str, Any] = _walk(shapes.type_info(shape), config, "config", frozenset(), change)
    return made


def _wrong(path: str, value: str, marks: frozenset[str], plain: Collection[str]) -> str | None:
    """The end of a sentence about a text that says a secret; None when it says none."""
    name = re.sub(r"\[[0-9]+\]", "", path).rpartition(".")[2]
    reference = _reference(name)
    if _SECRET in marks and not has_reference(value):
        return f"is a secret: write a reference such as {reference}."
    rest = without_references(value, "")
    if _FREE in marks and is_secret_name(name) and rest == value and value and name not in plain:
        return f"looks like a secret: write a reference such as {reference}{_UNLESS.format(name=name)}"
    url = without_references(value, REFERENCE)
    if _URL.match(url) and (wrong := next(_secrets_of_url(url, plain), None)):
        return wrong
    if _SECRET_IN_URL in marks and not has_reference(value) and not _URL.match(url):
        return "is no URL (scheme://…): write one, or a reference to one."
    if _PATH not in marks and name not in plain and looks_secret(rest):
        return f"holds what looks like a secret: write a reference such as {reference}{_UNLESS.format(name=name)}"
    return None


_UNLESS = " in its place, or `plain: [{name}]` beside it if it is none."


def _reference(name: str) -> str:
    """The reference to propose for an option."""
    return "${env:CLEARWELL_SECRET_" + (re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "IT") + "}"


def _secrets_of_url(url: str, plain: Collection[str]) -> Iterator[str]:
    """What in a URL should be a reference and is none."""
    scheme, _, rest = url.partition("://")
    try:
        parts = urlsplit(url)
    except ValueError:
        yield "is no valid URL: check its host and port."
        return
    # A browser's URL ends its user part at the first slash; what databases read goes on to the last @.
    user = _PASSWORD.match(parts.netloc if scheme.lower() in _WEB else rest)
    if user and user["password"] not in ("", REFERENCE):
        yield f"holds a password: write a reference such as {_reference('DB')} in its place."
    for name, value in parse_qsl(parts.query):
        if is_secret_name(name) and value != REFERENCE and name not in plain:
            yield f"holds a secret in `{name}=`: write a reference such as {_reference(name)} in its place."


def _walk(kind: shapes.Type, value: Any, path: str, marks: frozenset[str], change: Change) -> Any:
    """`value` rebuilt, with `change(place, value, marks)` for every text in it, and for secrets that are no text."""
    kind, own = _chosen(kind, value)
    marks |= own
    if isinstance(value, dict):
        return {
            key: _walk(_entry(kind, key), inner, f"{path}.{key}", _passed_on(kind, marks), change)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        item = getattr(kind, "item_type", shapes.AnyType())
        return [_walk(item, inner, f"{path}[{at}]", marks, change) for at, inner in enumerate(value)]
    if isinstance(value, str):
        return change(path, value, marks)
    name = path.rpartition(".")[2]
    named = _FREE in marks and not isinstance(value, bool) and is_secret_name(name)
    if value is not None and (_SECRET in marks or named):
        change(path, str(value), marks)  # a number that is a password
    return value


def _chosen(kind: shapes.Type, value: Any) -> tuple[shapes.Type, frozenset[str]]:
    """Of a type's alternatives the one that `value` is written as, without its marks, and the marks."""
    for alternative, marks in alternatives(kind):
        if isinstance(value, dict):
            fits = isinstance(alternative, shapes.DictType) or (
                isinstance(alternative, shapes.StructType) and _tag_fits(alternative, value)
            )
        elif isinstance(value, list):
            fits = isinstance(alternative, _LISTS)
        else:
            fits = not isinstance(alternative, (*_LISTS, shapes.DictType, shapes.StructType, shapes.NoneType))
        if fits:
            return alternative, marks
    return shapes.AnyType(), frozenset()


def alternatives(
    kind: shapes.Type, marks: frozenset[str] = frozenset()
) -> Iterator[tuple[shapes.Type, frozenset[str]]]:
    """The types of a union, or the one, each with what marks it."""
    while isinstance(kind, shapes.Metadata):
        mark = (kind.extra or {}).get("clearwell")
        marks |= {mark} if isinstance(mark, str) else set()
        kind = kind.type
    if isinstance(kind, shapes.UnionType):
        for alternative in kind.types:
            yield from alternatives(alternative, marks)
    else:
        yield kind, marks


def _tag_fits(struct: shapes.StructType, value: dict[str, Any]) -> bool:
    return struct.tag_field is None or value.get(struct.tag_field) == struct.tag


def _entry(kind: shapes.Type, key: str) -> shapes.Type:
    """The type of what stands at `key`."""
    if isinstance(kind, shapes.StructType):
        return next((field.type for field in kind.fields if field.encode_name == key), shapes.AnyType())
    return kind.value_type if isinstance(kind, shapes.DictType) else shapes.AnyType()


def _passed_on(kind: shapes.Type, marks: frozenset[str]) -> frozenset[str]:
    """Entries of a map that no struct names are judged by how they are called."""
    return marks - {_FREE} if isinstance(kind, shapes.StructType) else marks | {_FREE}
