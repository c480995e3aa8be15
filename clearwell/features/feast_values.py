"""Our values as Feast's protobuf values, and back: exact types, nothing cast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from feast.protos.feast.types import Value_pb2 as proto

from clearwell.contract.features import Feature
from clearwell.contract.model import Field, Type
from clearwell.errors import ConfigError

Value = proto.Value

_MEMBERS: Mapping[Type, str] = {
    Type.STRING: "string_val",
    Type.INT32: "int32_val",
    Type.INT64: "int64_val",
    Type.FLOAT64: "double_val",
    Type.DECIMAL: "decimal_val",
    Type.BOOL: "bool_val",
    Type.TIMESTAMP: "unix_timestamp_val",
    Type.DATE: "string_val",
    Type.BYTES: "bytes_val",
}
"""The member of Feast's Value that holds each of our types (see `definitions.feast_type`)."""

_LISTS: Mapping[Type, tuple[str, type[Any]]] = {
    Type.STRING: ("string_list_val", proto.StringList),
    Type.INT32: ("int32_list_val", proto.Int32List),
    Type.INT64: ("int64_list_val", proto.Int64List),
    Type.FLOAT64: ("double_list_val", proto.DoubleList),
    Type.DECIMAL: ("decimal_list_val", proto.StringList),
    Type.BOOL: ("bool_list_val", proto.BoolList),
    Type.TIMESTAMP: ("unix_timestamp_list_val", proto.Int64List),
    Type.DATE: ("string_list_val", proto.StringList),
    Type.BYTES: ("bytes_list_val", proto.BytesList),
}

_OUT: Mapping[Type, Callable[[Any], Any]] = {
    Type.DECIMAL: lambda value: format(value, "f"),
    Type.TIMESTAMP: lambda value: int(value.timestamp()),
    Type.DATE: date.isoformat,
}
_IN: Mapping[Type, Callable[[Any], Any]] = {
    Type.DECIMAL: Decimal,
    Type.TIMESTAMP: lambda value: datetime.fromtimestamp(value, UTC),
    Type.DATE: date.fromisoformat,
}

NULL = Value()


def encoder(feature: Feature) -> Callable[[Any], proto.Value]:
    """A function that makes Feast's value of one of the feature's; None becomes Feast's null."""
    if feature.type is Type.LIST:
        items = feature.source.items or Type.STRING
        member, holder = _LISTS[items]
        out = _OUT.get(items)
        return lambda value: NULL if value is None else Value(**{member: holder(val=map(out, value) if out else value)})
    member, out = _MEMBERS[feature.type], _OUT.get(feature.type)

    def encode(value: Any) -> proto.Value:
        if value is None:
            return NULL
        made = Value()
        setattr(made, member, value if out is None else out(value))  # half the time of Value(**{member: value})
        return made

    return encode


def decoded(value: proto.Value, type_: Type, items: Type | None, called: str) -> Any:
    """What Feast's `value` is in our row; None for its null.

    Raises ConfigError, without the value (invariant 9), when it is of another type; `called` begins the sentence.
    """
    given_member = value.WhichOneof("val")
    if given_member is None:
        return None
    member = _LISTS[items or Type.STRING][0] if type_ is Type.LIST else _MEMBERS[type_]
    named = f"list of {items}" if type_ is Type.LIST else str(type_)
    if given_member != member:
        raise ConfigError(f"{called} is of the type {named} ({member} of Feast), and was given a {given_member}.")
    held = getattr(value, member)
    convert = _IN.get((items or Type.STRING) if type_ is Type.LIST else type_)
    try:
        if type_ is Type.LIST:
            return [convert(item) for item in held.val] if convert else list(held.val)
        return convert(held) if convert else held
    except (ValueError, InvalidOperation, OverflowError, OSError):
        raise ConfigError(f"{called} is of the type {named}, and was given text that is none.") from None


def key_value(value: proto.Value, key: Field, entity: str) -> Any:
    """The value of one key of an entity. Raises ConfigError as `decoded`."""
    return decoded(value, key.clean_type, None, f'The key "{key.name}" of the entity "{entity}"')
