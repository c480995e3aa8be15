"""Field types as msgspec types: what comes in (exact, bounded, missing told from null) and what goes out."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clearwell.contract.model import CleanSchema, Field, Type, UnknownFields
from clearwell.contract.values import INT_BOUNDS

LONGEST_DECIMAL = 80
"""Characters; longer text is no decimal of 38 digits before and after the point."""


def quoted(type_: Type) -> bool:
    """Whether JSON writes a value of this type as one string."""
    return type_ in (Type.STRING, Type.DECIMAL, Type.TIMESTAMP, Type.DATE, Type.BYTES)


def raw_struct(
    fields: Iterable[Field], unknown: UnknownFields, attribute: Callable[[str], str] = str
) -> type[msgspec.Struct]:
    """The struct that raw events decode into. A missing optional field is UNSET, so that it differs from null.

    `attribute` gives the Python name of a field, since "class" can't be one.
    """
    declared: list[Any] = []
    names: dict[str, str] = {}
    for field in fields:
        own, known = attribute(field.name), _raw_type(field)
        names[own] = field.name
        declared.append((own, known) if field.required else (own, known | None | UnsetType, UNSET))
    reject = unknown is UnknownFields.REJECT
    return msgspec.defstruct("Raw", declared, kw_only=True, gc=False, forbid_unknown_fields=reject, rename=names)


def _raw_type(field: Field) -> Any:
    if field.type is Type.LIST:
        assert field.items is not None
        item: Any = _raw_type(Field(field.name, field.items, precision=field.precision, scale=field.scale))
        return Annotated[list[item], Meta(max_length=field.max_length)]
    if field.type in INT_BOUNDS:
        low, high = INT_BOUNDS[field.type]
        least = low if field.minimum is None else max(low, int(field.minimum))
        greatest = high if field.maximum is None else min(high, int(field.maximum))
        return Annotated[int, Meta(ge=least, le=greatest)]
    if field.type is Type.FLOAT64:
        return Annotated[float, Meta(ge=_number(field.minimum), le=_number(field.maximum))]
    if field.type is Type.TIMESTAMP:
        return Annotated[datetime.datetime, Meta(tz=True)]
    if field.type is Type.DECIMAL:
        return Annotated[str, Meta(max_length=LONGEST_DECIMAL)]
    if field.type in (Type.STRING, Type.BYTES):
        return Annotated[str if field.type is Type.STRING else bytes, Meta(max_length=field.max_length)]
    return {Type.BOOL: bool, Type.DATE: datetime.date, Type.JSON: Any}[field.type]


def _number(bound: int | float | str | None) -> float | None:
    return None if bound is None else float(bound)


def clean_struct(schema: CleanSchema) -> type[msgspec.Struct]:
    """The struct of a clean event, fields in the schema's order, nulls written out."""
    names = [(field.name, python_type(field) | None, None) for field in schema.fields]
    return msgspec.defstruct("Clean", names, gc=False)


def python_type(field: Field) -> Any:
    """The Python type of a field of a clean event, null aside."""
    plain: dict[Type, Any] = {
        Type.STRING: str,
        Type.INT32: int,
        Type.INT64: int,
        Type.FLOAT64: float,
        Type.DECIMAL: Decimal,
        Type.BOOL: bool,
        Type.TIMESTAMP: datetime.datetime,
        Type.DATE: datetime.date,
        Type.JSON: Any,
        Type.BYTES: bytes,
    }
    if field.clean_type is Type.LIST:
        assert field.items is not None
        item: Any = plain[field.items]
        return list[item]
    return plain[field.clean_type]
