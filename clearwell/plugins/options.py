"""What a kind of source can be told: its options with type, default and text, all read from its configuration class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import msgspec.inspect as shapes

from clearwell.plugins.annotations import SECRETS, alternatives
from clearwell.plugins.kinds import destination_class, source_class

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `name` is its place ("auth.token"), `type` and `default` are for people (default None: none).

    `secret` says that only a reference is taken: "whole" for all of it, "in url" for a URL's password.
    """

    name: str
    type: str
    required: bool
    default: str | None
    secret: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of source: `summary` is a line, `text` what else its configuration's docstring says."""

    name: str
    summary: str
    text: str
    options: tuple[Option, ...]
    push: bool


def kind(name: str) -> Kind:
    """The kind called `name`. Raises ConfigError as `source_class` does."""
    found = source_class(name)
    told, texts = told_options(found.Config)
    return Kind(name, summary_of(found), told, tuple(_options(found.Config, texts)), hasattr(found, "receive"))


def destination_kind(name: str) -> Kind:
    """The kind of destination called `name`. Raises ConfigError as `destination_class` does."""
    found = destination_class(name)
    told, texts = told_options(found.Config)
    module = inspect.getmodule(found)
    summary = (inspect.getdoc(module) or "").partition("\n\n")[0].replace("\n", " ")
    return Kind(name, summary, told, tuple(_options(found.Config, texts)), push=False)


def destination_schema(name: str) -> dict[str, Any]:
    """JSON Schemas (2020-12) of what `clearwell destination add` and a contract's route tell a kind of destination."""
    found = destination_class(name)
    return {
        "kind": name,
        "registered": found.registered,
        "config": {"$schema": DIALECT} | msgspec.json.schema(found.Config),
        "route": {"$schema": DIALECT} | msgspec.json.schema(found.Options),
        "secrets": [option.name for option in destination_kind(name).options if option.secret],
    }


def route_options(name: str) -> tuple[Option, ...]:
    """What a contract's route says to a kind of destination beside `to` and `when`."""
    found = destination_class(name)
    return tuple(_options(found.Options, told_options(found.Options)[1]))


def summary_of(found: type) -> str:
    """The first line of a source's docstring."""
    return (inspect.getdoc(found) or "").partition("\n")[0]


def json_schema(name: str) -> dict[str, Any]:
    """JSON Schemas (2020-12) of a kind's `config` and, where it is read and not sent to, of its positions."""
    found = source_class(name)
    position = getattr(found, "Position", None)
    return {
        "kind": name,
        "config": {"$schema": DIALECT} | msgspec.json.schema(found.Config),
        "position": None if position is None else {"$schema": DIALECT} | msgspec.json.schema(position),
        "secrets": [option.name for option in kind(name).options if option.secret],
    }


def told_options(shape: type[msgspec.Struct]) -> tuple[str, dict[str, str]]:
    """A configuration's docstring, parted into what it says in general and what it says of each option.

    An option's text begins with "name:" (or "one, other:") where a sentence may begin, and ends with its paragraph.
    """
    names = "|".join(re.escape(field.encode_name) for field in msgspec.structs.fields(shape))
    begins = re.compile(rf"(?:(?<=[.!?)`\"] )|\A)((?:{names})(?:, (?:{names}))*): ")
    general: list[str] = []
    texts: dict[str, str] = {}
    for paragraph in (inspect.getdoc(shape) or "").split("\n\n"):
        before, *parts = begins.split(" ".join(paragraph.split()))
        general += [before.strip()] if before.strip() else []
        for told, text in zip(parts[::2], parts[1::2], strict=True):
            texts |= dict.fromkeys(told.split(", "), text.strip())
    return "\n\n".join(general), texts


def _options(shape: type[msgspec.Struct], texts: dict[str, str]) -> Iterator[Option]:
    described = shapes.type_info(shape)
    assert isinstance(described, shapes.StructType)
    for field in described.fields:
        yield from _option(field, field.encode_name, texts.get(field.encode_name, ""), ())


def _option(field: shapes.Field, name: str, text: str, inside: Sequence[type]) -> Iterator[Option]:
    """An option, and after it those of the structs it may be."""
    found = list(alternatives(field.type))
    yield Option(name, _all_words(field.type), field.required, _default(field), _secret(field.type), text)
    for one, _ in found:
        many, kind_of = "", one
        if isinstance(one, shapes.ListType | shapes.VarTupleType):
            many, kind_of = "[]", next(alternatives(one.item_type))[0]
        if isinstance(kind_of, shapes.StructType) and kind_of.cls not in inside:
            texts = told_options(kind_of.cls)[1]
            tag = f"({kind_of.tag})" if kind_of.tag is not None else ""
            for inner in kind_of.fields:
                place = f"{name}{many}{tag}.{inner.encode_name}"
                yield from _option(inner, place, texts.get(inner.encode_name, ""), (*inside, kind_of.cls))


def _default(field: shapes.Field) -> str | None:
    if field.default is not msgspec.NODEFAULT:
        return None if field.default is None else _json(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return _json(field.default_factory())
    return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _words(one: shapes.Type) -> str:
    """A type in words; "" for null, which is not written but left out."""
    plain: dict[type[shapes.Type], str] = {
        shapes.NoneType: "",
        shapes.AnyType: "anything",
        shapes.BoolType: "true or false",
        shapes.StrType: "text",
    }
    if isinstance(one, shapes.IntType | shapes.FloatType):
        return ("whole number" if isinstance(one, shapes.IntType) else "number") + _bounds(one)
    if isinstance(one, shapes.LiteralType):
        return " | ".join(sorted(map(str, one.values)))
    if isinstance(one, shapes.DictType):
        return f"map to {_all_words(one.value_type)}"
    if isinstance(one, shapes.ListType | shapes.VarTupleType | shapes.SetType | shapes.FrozenSetType):
        return f"list of {_all_words(one.item_type)}"
    if isinstance(one, shapes.StructType):
        return "map"
    return plain.get(type(one), type(one).__name__.removesuffix("Type").lower())


def _all_words(kind_of: shapes.Type) -> str:
    """The alternatives of a type; maps that a tag tells apart as one."""
    found = [one for one, _ in alternatives(kind_of)]
    tags = [str(one.tag) for one in found if isinstance(one, shapes.StructType) and one.tag is not None]
    said: list[str] = []
    for one in found:
        if isinstance(one, shapes.StructType) and one.tag is not None:
            said.append(f"map ({one.tag_field}: {' | '.join(tags)})")
        else:
            said.append(_words(one))
    return " or ".join(dict.fromkeys(filter(None, said)))


def _secret(kind_of: shapes.Type) -> str | None:
    """How much of a value, or of each value in a list or map, is secret."""
    for one, marks in alternatives(kind_of):
        for mark in SECRETS:
            if mark in marks:
                return SECRETS[mark]
        inside = getattr(one, "item_type", None) or getattr(one, "value_type", None)
        if inside is not None and (found := _secret(inside)):
            return found
    return None


def _bounds(number: shapes.IntType | shapes.FloatType) -> str:
    signs = (("≥", number.ge), (">", number.gt), ("≤", number.le), ("<", number.lt))
    said = " and ".join(f"{sign} {bound}" for sign, bound in signs if bound is not None)
    return f" {said}" if said else ""
