"""Arrow's values as what JSON can hold, exactly; a value that can't be is a `Misfit`, which refuses its row alone."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from clearwell.source import Refusal
from connectors.file.arrow_times import dates, durations, times_of_day, timestamps
from connectors.file.json_misfit import Misfit

Values = list[Any]


@dataclass(frozen=True, slots=True)
class Forms:
    """How values are written where there is a choice.

    `zone` is that of times without one (None: they stay without); `kinds` are the types that the user gave to columns.
    """

    zone: tzinfo | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)


def column_values(name: str, array: Any, forms: Forms, seconds: Any = None) -> Values:
    """A column's values, in the type that `forms.kinds` gives it, or its own. `seconds`: see `values`."""
    column = values(array, forms, seconds)
    change = _KINDS.get((_family(array.type), forms.kinds.get(name, "")))
    return column if change is None else [None if value is None else change(value) for value in column]


def values(array: Any, forms: Forms, seconds: Any = None) -> Values:
    """An array's values. `seconds` is the same array with INT96 times in whole seconds, or None if it has none."""
    kind = array.type
    if isinstance(kind, pa.UuidType):
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in array.storage.to_pylist()]
    if isinstance(kind, pa.BaseExtensionType):
        return values(array.storage, forms, seconds)
    if pa.types.is_dictionary(kind):
        return values(array.dictionary_decode(), forms, seconds)
    if pa.types.is_timestamp(kind):
        return timestamps(array, forms.zone, seconds)
    for test, make in _BY_TYPE:
        if test(kind):
            return make(array)
    if pa.types.is_struct(kind):
        return _structs(array, forms, seconds)
    if pa.types.is_map(kind):
        return _maps(array, forms, seconds)
    if pa.types.is_nested(kind):
        return _lists(array, forms, seconds)
    plain: Values = array.to_pylist()
    return plain


def _texts(array: Any) -> Values:
    try:
        texts: Values = array.to_pylist()
    except UnicodeDecodeError:  # Arrow reads a file's texts without looking at them
        large = pa.types.is_large_string(array.type)
        texts = [_text(value) for value in array.cast(pa.large_binary() if large else pa.binary()).to_pylist()]
    return texts


def _text(raw: bytes | None) -> Any:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return Misfit(Refusal.NOT_UTF8, raw)


def _decimals(array: Any) -> Values:
    """As text, which is what a contract's decimal takes: readers of JSON pass numbers through binary floats."""
    return [None if value is None else format(value, "f") for value in array.to_pylist()]


def _unsigned(array: Any) -> Values:
    """As text, for the same reason: half of them are beyond an int64, so a contract calls them decimals."""
    return [None if value is None else str(value) for value in array.to_pylist()]


def _floats(array: Any) -> Values:
    floats = array.to_pylist()
    if pa.types.is_float16(array.type):
        floats = [None if value is None else float(value) for value in floats]
        array = pa.array(floats, pa.float64())
    return floats if pc.all(pc.is_finite(array)).as_py() is not False else [_finite(value) for value in floats]


def _finite(value: float | None) -> Any:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


_BY_TYPE: tuple[tuple[Callable[[Any], bool], Callable[[Any], Values]], ...] = (
    (pa.types.is_string, _texts),
    (pa.types.is_large_string, _texts),
    (pa.types.is_uint64, _unsigned),
    (pa.types.is_floating, _floats),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_date, dates),
    (pa.types.is_time, times_of_day),
    (pa.types.is_duration, durations),
)


def _structs(array: Any, forms: Forms, seconds: Any) -> Values:
    names = [field.name for field in array.type]
    timed = {} if seconds is None else dict(zip((field.name for field in seconds.type), seconds.flatten(), strict=True))
    children = [values(child, forms, timed.get(name)) for name, child in zip(names, array.flatten(), strict=True)]
    rows: Iterator[Any] = zip(*children, strict=True) if children else iter([()] * len(array))
    return [
        dict(zip(names, row, strict=True)) if there else None
        for there, row in zip(array.is_valid().to_pylist(), rows, strict=True)
    ]


def _lists(array: Any, forms: Forms, seconds: Any) -> Values:
    items = iter(values(array.flatten(), forms, None if seconds is None else seconds.flatten()))
    lengths = pc.list_value_length(array).to_pylist()
    return [None if length is None else list(islice(items, length)) for length in lengths]


def _maps(array: Any, forms: Forms, seconds: Any) -> Values:
    """An object where the keys are text, else a list of [key, value]."""
    pairs = _lists(_as_list(array), forms, None if seconds is None else _as_list(seconds))
    textual = pa.types.is_string(array.type.key_type) or pa.types.is_large_string(array.type.key_type)
    return [None if pair is None else _object(pair) if textual else [list(p.values()) for p in pair] for pair in pairs]


def _as_list(array: Any) -> Any:
    """A map is stored as a list of key and value."""
    kind = array.type
    entry = pa.struct([pa.field("key", kind.key_type, nullable=False), pa.field("value", kind.item_type)])
    return array.cast(pa.list_(entry))


def _object(pairs: list[dict[str, Any]]) -> Any:
    items: dict[str, Any] = {}
    for pair in pairs:
        key = pair["key"]
        if isinstance(key, Misfit) or key in items:
            return Misfit(
                key.reason if isinstance(key, Misfit) else Refusal.KEY_TWICE, [list(p.values()) for p in pairs]
            )
        items[key] = pair["value"]
    return items


def _family(kind: Any) -> str:
    if pa.types.is_integer(kind):
        return "int"
    return "decimal" if pa.types.is_decimal(kind) else ""


_KINDS: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("int", "int"): int,
    ("int", "string"): str,
    ("int", "float"): float,
    ("decimal", "float"): float,
}
"""What `columns` may ask for: (what the column is, what it shall be) → the change of each value."""


def may_be(kind: Any, asked: str) -> bool:
    """Whether a column of this type may be asked for as `asked`."""
    own = {"string": pa.types.is_string(kind) or pa.types.is_decimal(kind), "bool": pa.types.is_boolean(kind)}
    own |= {"float": pa.types.is_floating(kind)}
    return own.get(asked, False) or (_family(kind), asked) in _KINDS


def contract_type(kind: Any, forms: Forms, asked: str | None = None) -> str:
    """What a contract calls a column's values, as they are written here."""
    if asked is not None:
        return {"string": "string", "int": "int64", "float": "float64", "bool": "bool"}[asked]
    if isinstance(kind, pa.UuidType):
        return "string"
    if isinstance(kind, pa.BaseExtensionType):
        return contract_type(kind.storage_type, forms)
    if pa.types.is_dictionary(kind):
        return contract_type(kind.value_type, forms)
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz or forms.zone else "string"
    return next((name for test, name in _NAMES if test(kind)), "string")


_NAMES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (pa.types.is_boolean, "bool"),
    (pa.types.is_uint64, "decimal"),
    (pa.types.is_integer, "int64"),
    (pa.types.is_floating, "float64"),
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_date, "date"),
    (pa.types.is_binary, "bytes"),
    (pa.types.is_large_binary, "bytes"),
    (pa.types.is_fixed_size_binary, "bytes"),
    (pa.types.is_nested, "json"),
)
