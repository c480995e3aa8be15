"""Parquet: rows become JSON objects, batch after batch, whatever the size of the row groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from clearwell.errors import ConfigError, nearest
from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent, refuse
from connectors.file.arrow_json import Forms, column_values, contract_type, may_be
from connectors.file.int96 import Int96Seconds
from connectors.file.json_misfit import Misfit

_BATCH_BYTES = 4_194_304


class ParquetReader:
    """Makes events of rows. Offsets count rows.

    Decimals become text with all digits, times ISO 8601 (nanoseconds too), binary base64; NaN and the infinities,
    which JSON has not, the strings "NaN", "Infinity", "-Infinity". A row with a value that JSON can't hold, or no
    contract, is refused.
    """

    def __init__(
        self, file: str, content: BinaryIO, id_field: str | None, offset: int = 0, forms: Forms | None = None
    ) -> None:
        """Raises EOFError when the file is none or damaged, ConfigError when it is shorter than `offset` rows."""
        self._file, self._id, self._offset, self._forms = file, id_field, offset, forms or Forms()
        with _Damage(file):
            shared = pa.PythonFile(content, mode="r")
            self._parquet = pq.ParquetFile(shared)
            self._schema = self._parquet.schema_arrow
            self._seconds = Int96Seconds(shared, self._parquet)
        self._require_columns()
        if offset > self._parquet.metadata.num_rows:
            raise ConfigError(
                f"{file} is shorter than the {offset} rows already read: it was replaced. "
                "Register the new content as a connector of its own."
            )
        self._rows: Iterator[dict[str, Any]] | None = None
        self.items = 0
        """Rows that were read."""
        self._misfits: list[Refusal] = []
        self._encode = msgspec.json.Encoder(enc_hook=self._written).encode

    @property
    def total(self) -> int:
        """Rows of the file, as it says."""
        return int(self._parquet.metadata.num_rows)

    def batch(self, count: int) -> tuple[list[SourceEvent], int]:
        """At most `count` events and the row after them; no events at the end of the file."""
        if self._rows is None:
            self._rows = self._from(self._offset, count)
        events: list[SourceEvent] = []
        size = 0
        while len(events) < count and size < _BATCH_BYTES:
            row = next(self._rows, None)
            if row is None:
                if self._offset != self.total:  # invariant 11: the file says how many there are
                    raise EOFError
                break
            self.items += 1
            event = self._event(row)
            self._offset, size = self._offset + 1, size + len(event.data)
            events.append(event)
        return events, self._offset

    def types(self) -> dict[str, str]:
        """The contract's types by column."""
        kinds = self._forms.kinds
        return {field.name: contract_type(field.type, self._forms, kinds.get(field.name)) for field in self._schema}

    def _require_columns(self) -> None:
        file, names = self._file, self._schema.names
        if _repeats(self._schema):
            raise ConfigError(f"{file} has two columns of one name: rename one.")
        for name in [*self._forms.kinds, *([] if self._id is None else [self._id])]:
            if name not in names:
                raise ConfigError(f'{file} has no column "{name}".{nearest(name, names)}')
        for name, asked in self._forms.kinds.items():
            if not may_be(kind := self._schema.field(name).type, asked):
                raise ConfigError(f'The column "{name}" of {file} is {kind}, not {asked}: leave it out of `columns`.')

    def _from(self, row: int, count: int) -> Iterator[dict[str, Any]]:
        """Rows from one on; row groups before it are not read."""
        groups: list[int] = []
        for group in range(self._parquet.num_row_groups):
            rows = self._parquet.metadata.row_group(group).num_rows
            if row < rows or groups:
                groups.append(group)
            else:
                row -= rows
        size = min(count, 10_000)
        with _Damage(self._file):
            self._seconds.begin(size, groups)
            for batch in self._parquet.iter_batches(size, row_groups=groups):
                seconds = self._seconds.take(batch.num_rows)
                if row >= batch.num_rows:
                    row -= batch.num_rows
                    continue
                yield from self._dicts(batch.slice(row), {name: second.slice(row) for name, second in seconds.items()})
                row = 0

    def _dicts(self, batch: Any, seconds: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        names = batch.schema.names
        if not names:
            yield from repeat({}, batch.num_rows)
            return
        columns = [
            column_values(name, column, self._forms, seconds.get(name))
            for name, column in zip(names, batch.columns, strict=True)
        ]
        for row in zip(*columns, strict=True):
            yield dict(zip(names, row, strict=True))

    def _event(self, row: dict[str, Any]) -> SourceEvent:
        event_id = f"{self._file}#{self._offset}"
        if self._id is not None and isinstance(named := row[self._id], str | int):
            event_id = str(named) or event_id
        data = self._encode(row)
        refused = None
        if self._misfits:
            refused = self._misfits[0]
            self._misfits.clear()
        return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data, refused)

    def _written(self, value: Any) -> Any:
        """Called for what is no JSON: the row is refused, and shows what the file holds."""
        if isinstance(value, Misfit):
            self._misfits.append(value.reason)
            return value.raw
        self._misfits.append(Refusal.NOT_JSON)
        return str(value)


class _Damage:
    """Arrow's errors of a file that is no Parquet, is cut off, or uses what Arrow can't read."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UnicodeDecodeError):
            raise ConfigError(f"{self._file} has a column whose name is not UTF-8: rename it.") from None
        if isinstance(error, pa.ArrowNotImplementedError) or "encrypt" in str(error).lower():
            raise ConfigError(
                f"{self._file} uses something of Parquet that can't be read here (an encoding, or encryption): "
                "write it anew without."
            ) from None
        if isinstance(error, pa.ArrowException) or (isinstance(error, OSError) and error.errno is None):
            raise EOFError from None


def _repeats(fields: Any) -> bool:
    """Whether a name is there twice among the fields, or inside one of them."""
    names = [field.name for field in fields]
    return len(set(names)) < len(names) or any(_repeats_inside(field.type) for field in fields)


def _repeats_inside(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return _repeats(list(kind))
    if pa.types.is_map(kind):
        return _repeats_inside(kind.item_type)
    return _repeats_inside(kind.value_type) if pa.types.is_nested(kind) and hasattr(kind, "value_type") else False
