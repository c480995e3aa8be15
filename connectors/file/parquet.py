"""Parquet: rows become JSON objects, batch after batch, whatever the size of the row groups."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clearwell.errors import ConfigError, nearest
from clearwell.source import EVENT_LIMIT, SourceEvent, refuse

_BATCH_BYTES = 4_194_304
_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


class ParquetReader:
    """Makes events of rows. Offsets count rows.

    Decimals become numbers with all digits, times ISO 8601 (nanoseconds too), binary base64; NaN and the infinities,
    which JSON has not, the strings "NaN", "Infinity", "-Infinity".
    """

    def __init__(self, file: str, content: BinaryIO, id_field: str | None, offset: int = 0) -> None:
        """Raises EOFError when the file is none or damaged, ConfigError when it is shorter than `offset` rows."""
        self._file, self._id, self._offset = file, id_field, offset
        with _Damage():
            self._parquet = pq.ParquetFile(content)
        names = self._parquet.schema_arrow.names
        if len(set(names)) < len(names):
            raise ConfigError(f"{file} has two columns of one name: rename one.")
        if id_field is not None and id_field not in names:
            raise ConfigError(f'{file} has no column "{id_field}".{nearest(id_field, names)}')
        if offset > self._parquet.metadata.num_rows:
            raise ConfigError(
                f"{file} is shorter than the {offset} rows already read: it was replaced. "
                "Register the new content as a connector of its own."
            )
        self._rows: Iterator[dict[str, Any]] | None = None

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the row after them; no events at the end of the file."""
        if self._rows is None:
            self._rows = self._from(self._offset, count)
        events: list[SourceEvent] = []
        size = 0
        while len(events) < count and size < _BATCH_BYTES:
            row = next(self._rows, None)
            if row is None:
                break
            event = self._event(row)
            self._offset, size = self._offset + 1, size + len(event.data)
            events.append(event)
        return events, self._offset

    def types(self) -> dict[str, str]:
        """The contract's types by column."""
        return {field.name: _contract_type(field.type) for field in self._parquet.schema_arrow}

    def _from(self, row: int, count: int) -> Iterator[dict[str, Any]]:
        """Rows from one on; row groups before it are not read."""
        groups: list[int] = []
        for group in range(self._parquet.num_row_groups):
            rows = self._parquet.metadata.row_group(group).num_rows
            if row < rows or groups:
                groups.append(group)
            else:
                row -= rows
        with _Damage():
            for batch in self._parquet.iter_batches(min(count, 10_000), row_groups=groups):
                if row >= batch.num_rows:
                    row -= batch.num_rows
                    continue
                yield from _rows(batch.slice(row))
                row = 0

    def _event(self, row: dict[str, Any]) -> SourceEvent:
        event_id = f"{self._file}#{self._offset}"
        if self._id is not None and isinstance(named := row[self._id], str | int):
            event_id = str(named) or event_id
        data = _encode(row)
        return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)


class _Damage:
    """Arrow's errors of a file that is no Parquet, or is cut off."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, pa.ArrowException) or (isinstance(error, OSError) and error.errno is None):
            raise EOFError from None


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    columns = [_values(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(names, values, strict=True))


def _values(column: Any) -> list[Any]:
    """A column's values as msgspec can write them without loss."""
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pc.replace_substring(column.cast(pa.string()), " ", "T", max_replacements=1).to_pylist()  # type: ignore[no-any-return]
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(kind):
        return values if pc.all(pc.is_finite(column)).as_py() is not False else [_finite(one) for one in values]
    return [_finite(one) for one in values] if pa.types.is_nested(kind) else values


def _finite(value: Any) -> Any:
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _finite(one) for name, one in value.items()}
    return value


def _contract_type(kind: Any) -> str:
    tests = (
        (pa.types.is_boolean, "bool"),
        (pa.types.is_uint64, "decimal"),
        (pa.types.is_integer, "int64"),
        (pa.types.is_floating, "float64"),
        (pa.types.is_decimal, "decimal"),
        (pa.types.is_timestamp, "timestamp"),
        (pa.types.is_date, "date"),
        (pa.types.is_binary, "bytes"),
        (pa.types.is_large_binary, "bytes"),
        (pa.types.is_nested, "json"),
    )
    return next((name for test, name in tests if test(kind)), "string")
