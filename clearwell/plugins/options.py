"""What sources, destinations, routes and steps can be told: options with type, default and text, from their classes."""

from __future__ import annotations

import inspect
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
class KindDescription:
    """A kind of source or destination: `summary` is a line, `text` what its configuration's docstring says."""

    name: str
    summary: str
    text: str
    options: tuple[Option, ...]
    push: bool


def describe_source(name: str) -> KindDescription:
    """The kind of source called `name`. Raises ConfigError as `source_class` does."""
    source = source_class(name)
    options = tuple(options_of(source.Config))
    return KindDescription(name, summary_of(source), _text(source.Config), options, hasattr(source, "receive"))


def describe_destination(name: str) -> KindDescription:
    """The kind of destination called `name`. Raises ConfigError as `destination_class` does."""
    destination = destination_class(name)
    summary = (inspect.getdoc(inspect.getmodule(destination)) or "").partition("\n\n")[0].replace("\n", " ")
    options = tuple(options_of(destination.Config))
    return KindDescription(name, summary, _text(destination.Config), options, push=False)


def destination_schema(name: str) -> dict[str, Any]:
    """JSON Schemas (2020-12) of what a kind of destination is told when it is registered, and by a contract's route."""
    destination = destination_class(name)
    return {
        "kind": name,
        "registered": destination.registered,
        "config": {"$schema": DIALECT} | msgspec.json.schema(destination.Config),
        "route": {"$schema": DIALECT} | msgspec.json.schema(destination.Options),
        "secrets": [option.name for option in options_of(destination.Config) if option.secret],
    }


def route_options(name: str) -> tuple[Option, ...]:
    """What a contract's route says to a kind of destination beside `to` and `when`."""
    return tuple(options_of(destination_class(name).Options))


def summary_of(source: type) -> str:
    """The first line of a source's docstring."""
    return (inspect.getdoc(source) or "").partition("\n")[0]


def source_schema(name: str) -> dict[str, Any]:
    """JSON Schemas (2020-12) of a kind's `config` and, where it is read and not sent to, of its positions."""
    source = source_class(name)
    position = getattr(source, "Position", None)
    return {
        "kind": name,
        "config": {"$schema": DIALECT} | msgspec.json.schema(source.Config),
        "position": None if position is None else {"$schema": DIALECT} | msgspec.json.schema(position),
        "secrets": [option.name for option in options_of(source.Config) if option.secret],
    }


def _text(shape: type[msgspec.Struct]) -> str:
    """A docstring with a line a paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(shape.__doc__ or "").split("\n\n"))


def options_of(shape: type[msgspec.Struct]) -> Iterator[Option]:
    """The options of a configuration, a route or a step: the fields of its class, each followed by those inside it."""
    described = shapes.type_info(shape)
    assert isinstance(described, shapes.StructType)
    for field in described.fields:
        yield from _option(field, field.encode_name, ())


def _option(field: shapes.Field, name: str, inside: Sequence[type]) -> Iterator[Option]:
    text = _annotated(field.type, "description")
    yield Option(name, _all_words(field.type), field.required, _default(field), _secret(field.type), text)
    for shape, _ in alternatives(field.type):
        many, kind_of = "", shape
        if isinstance(shape, shapes.ListType | shapes.VarTupleType):
            many, kind_of = "[]", next(alternatives(shape.item_type))[0]
        if isinstance(kind_of, shapes.StructType) and kind_of.cls not in inside:
            tag = f"({kind_of.tag})" if kind_of.tag is not None else ""
            for inner in kind_of.fields:
                yield from _option(inner, f"{name}{many}{tag}.{inner.encode_name}", (*inside, kind_of.cls))


def _annotated(kind_of: shapes.Type, word: str) -> str:
    """What the `msgspec.Meta` of a type, or of the first of its alternatives that says so, gives as `word`."""
    if isinstance(kind_of, shapes.Metadata):
        return str((kind_of.extra_json_schema or {}).get(word, "")) or _annotated(kind_of.type, word)
    if isinstance(kind_of, shapes.UnionType):
        return next(filter(None, (_annotated(shape, word) for shape in kind_of.types)), "")
    return ""


def _default(field: shapes.Field) -> str | None:
    if field.default is not msgspec.NODEFAULT:
        return None if field.default is None else _json(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return _json(field.default_factory())
    return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=str).decode()


def _words(shape: shapes.Type) -> str:
    """A type in words; "" for null, which is not written but left out."""
    plain: dict[type[shapes.Type], str] = {
        shapes.NoneType: "",
        shapes.AnyType: "anything",
        shapes.BoolType: "true or false",
        shapes.StrType: "text",
    }
    if isinstance(shape, shapes.IntType | shapes.FloatType):
        return ("whole number" if isinstance(shape, shapes.IntType) else "number") + _bounds(shape)
    if isinstance(shape, shapes.LiteralType):
        return " | ".join(sorted(map(str, shape.values)))
    if isinstance(shape, shapes.EnumType):
        return " | ".join(str(member.value) for member in shape.cls)
    if isinstance(shape, shapes.DictType):
        return f"map to {_all_words(shape.value_type)}"
    if isinstance(shape, shapes.ListType | shapes.VarTupleType | shapes.SetType | shapes.FrozenSetType):
        return f"list of {_all_words(shape.item_type)}"
    if isinstance(shape, shapes.StructType):
        return "map"
    return plain.get(type(shape), type(shape).__name__.removesuffix("Type").lower())


def _all_words(kind_of: shapes.Type) -> str:
    """A type's title, or its alternatives; maps that a tag tells apart are one."""
    if title := _annotated(kind_of, "title"):
        return title
    shapes_found = [shape for shape, _ in alternatives(kind_of)]
    tags = [str(shape.tag) for shape in shapes_found if isinstance(shape, shapes.StructType) and shape.tag is not None]
    said: list[str] = []
    for shape in shapes_found:
        if isinstance(shape, shapes.StructType) and shape.tag is not None:
            said.append(f"map ({shape.tag_field}: {' | '.join(tags)})")
        else:
            said.append(_words(shape))
    return " or ".join(dict.fromkeys(filter(None, said)))


def _secret(kind_of: shapes.Type) -> str | None:
    """How much of a value, or of each value in a list or map, is secret."""
    for shape, marks in alternatives(kind_of):
        for mark in SECRETS:
            if mark in marks:
                return SECRETS[mark]
        inside = getattr(shape, "item_type", None) or getattr(shape, "value_type", None)
        if inside is not None and (inner := _secret(inside)):
            return inner
    return None


def _bounds(number: shapes.IntType | shapes.FloatType) -> str:
    signs = (("≥", number.ge), (">", number.gt), ("≤", number.le), ("<", number.lt))
    said = " and ".join(f"{sign} {bound}" for sign, bound in signs if bound is not None)
    return f" {said}" if said else ""
