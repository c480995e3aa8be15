"""Types of what is pushed, before Feast casts it: its errors quote values, and some of its casts lose silently."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clearwell.contract.features import FeatureView
from clearwell.contract.model import Type
from clearwell.contract.values import INT_BOUNDS
from clearwell.errors import ConfigError

_CHECKS: Mapping[Type, Callable[[pa.DataType], bool]] = {
    Type.STRING: lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_),
    Type.INT32: pa.types.is_integer,
    Type.INT64: pa.types.is_integer,
    Type.FLOAT64: lambda type_: pa.types.is_floating(type_) or pa.types.is_integer(type_),
    Type.DECIMAL: lambda type_: pa.types.is_decimal(type_) or pa.types.is_string(type_),
    Type.BOOL: pa.types.is_boolean,
    Type.TIMESTAMP: pa.types.is_timestamp,
    Type.DATE: lambda type_: pa.types.is_string(type_) or pa.types.is_large_string(type_),
    Type.BYTES: lambda type_: pa.types.is_binary(type_) or pa.types.is_large_binary(type_),
}


def check_frame(view: FeatureView, frame: pd.DataFrame) -> None:
    """Raise ConfigError, without values (invariant 9), where a column is not of its key's or feature's type."""
    for key in view.entity.keys:
        _check(view, frame, key.name, key.clean_type, None)
    for feature in view.features:
        _check(view, frame, feature.name, feature.type, feature.source.items)


def _check(view: FeatureView, frame: pd.DataFrame, name: str, type_: Type, items: Type | None) -> None:
    if name not in frame.columns:
        raise ConfigError(f'What is written to the view "{view.name}" has no column "{name}": give it, or nulls in it.')
    try:
        column = pa.Array.from_pandas(frame[name])
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        raise _wrong(view, name, type_, items, "values of several types") from None
    if pa.types.is_null(column.type):
        return
    if not _fits(column, type_, items):
        raise _wrong(view, name, type_, items, str(column.type))
    if type_ in INT_BOUNDS and column.null_count < len(column):
        bounds, (low, high) = pc.min_max(column).as_py(), INT_BOUNDS[type_]
        if bounds["min"] < low or bounds["max"] > high:
            raise _wrong(view, name, type_, items, "a number that does not fit it")


def _fits(column: pa.Array, type_: Type, items: Type | None) -> bool:
    arrow_type = column.type
    if type_ is not Type.LIST:
        return _CHECKS[type_](arrow_type) or (type_ in INT_BOUNDS and _whole(column))
    if not (pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type)):
        return False
    return pa.types.is_null(arrow_type.value_type) or _CHECKS[items or Type.STRING](arrow_type.value_type)


def _whole(column: pa.Array) -> bool:
    """Whole numbers as floats: what pandas makes of integers with nulls between them."""
    return pa.types.is_floating(column.type) and bool(pc.all(pc.equal(column, pc.floor(column))).as_py() is not False)


def _wrong(view: FeatureView, name: str, type_: Type, items: Type | None, pushed: str) -> ConfigError:
    declared = f"list of {items}" if type_ is Type.LIST else str(type_)
    return ConfigError(
        f'"{name}" of "{view.name}" is of the type {declared}, and was given {pushed}: nothing was written.'
    )
