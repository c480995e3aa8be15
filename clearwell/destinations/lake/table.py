"""A Delta table as a destination needs it: read anew before each write, written in one commit with its numbers.

The numbers are Delta's own application transactions: app id → a 64-bit integer, part of the table's state. Two commits
that set the same app id conflict, whoever comes second; so a set of numbers that is read, then written with the rows,
is a transaction over both (docs/decisions/0010-lake.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Schema, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError
from deltalake.schema import Field

from clearwell.destinations.lake.errors import Conflict, talking
from clearwell.destinations.lake.root import TableLocation
from clearwell.errors import ConfigError, Retryable

TRIES = 20
"""Conflicts in a row after which the caller may come again: each says that somebody else went on."""

CONFIGURATION = {
    "delta.checkpointInterval": "50",  # commits; who opens a table reads at most as many of them
    "delta.logRetentionDuration": "interval 7 days",  # as long as vacuum keeps the files of older versions
}

Result = TypeVar("Result")


class LakeTable:
    """One Delta table. Raises ConfigError, Retryable and Fatal as `lake_errors` says."""

    def __init__(
        self, location: TableLocation, columns: pa.Schema, partition_by: str, more: Mapping[str, str] | None = None
    ) -> None:
        """`columns` are those we write; the table may have more. `partition_by` is one of them.

        `more` are properties of the table beside CONFIGURATION, for when it is made.
        """
        self.place = location
        self._configuration = {**CONFIGURATION, **(more or {})}
        self._columns = columns
        self._partition_by = partition_by
        self._table: DeltaTable | None = None
        self._seen: Schema | None = None  # whose types are right
        self._numbers: dict[str, int | None] = {}
        self._version = -1

    def prepare(self) -> None:
        """Create the table, or add the columns it lacks. Raises ConfigError when it is another one's."""

        def attempt() -> None:
            self._forget()
            try:
                self.refresh()
            except TableNotFoundError:  # asked like this, since `is_deltatable` holds the GIL while it waits for S3
                self._create()
            self._check()

        self.insist("make or read it", attempt)

    def insist(self, doing: str, attempt: Callable[[], Result]) -> Result:
        """`attempt`, from the top after each conflict; for reading numbers and then `commit`."""
        for _ in range(TRIES):
            try:
                with talking(self.place, doing):
                    return attempt()
            except Conflict:
                self._forget()
        raise Retryable(f"Others write to the Delta table {self.place.shown} all the time: {TRIES} tries were in vain.")

    def refresh(self) -> DeltaTable:
        """The newest version of the table; numbers that may have changed are read again."""
        if self._table is None:
            self._table = DeltaTable(self.place.url, storage_options=self._options())
        else:
            self._table.update_incremental()
        if self._table.version() != self._version:
            self._numbers.clear()
            self._version = self._table.version()
        return self._table

    def number(self, app: str) -> int | None:
        """The number of an app id as of the last `refresh`."""
        if app not in self._numbers:
            table = self._table or self.refresh()
            self._numbers[app] = table.transaction_version(app)
        return self._numbers[app]

    def commit(self, rows: pa.RecordBatch | None, numbers: Mapping[str, int]) -> None:
        """Rows and numbers become visible together, or not at all. Raises Conflict inside `insist`."""
        table = self._table or self.refresh()
        properties = CommitProperties(app_transactions=[Transaction(app, number) for app, number in numbers.items()])
        if rows is not None and rows.num_rows:
            write_deltalake(table, self._whole(table, rows), mode="append", commit_properties=properties)
        else:
            schema, by = table.schema(), [self._partition_by]
            table.create_write_transaction([], "append", schema, partition_by=by, commit_properties=properties)
            table.update_incremental()
        if table.version() == self._version + 1:
            self._numbers.update(numbers)
            self._version += 1
        else:  # somebody's commit went between: what else we know may be old
            self._forget()

    def fields(self) -> list[Field]:
        """The columns of the version last read."""
        return list((self._table or self.refresh()).schema().fields)

    def query(self, sql: str) -> pa.Table:
        """Rows of the version last read; the table is called `t`."""
        table = self._table or self.refresh()
        return pa.table(QueryBuilder().register("t", table).execute(sql).read_all())

    def close(self) -> None:
        """Let go of what was read; calling it again is harmless."""
        self._forget()

    def _forget(self) -> None:
        self._table = None
        self._numbers.clear()
        self._version = -1

    def _options(self) -> dict[str, str] | None:
        return self.place.client_options()

    def _create(self) -> None:
        DeltaTable.create(
            self.place.url,
            Schema.from_arrow(self._columns),
            mode="ignore",  # two may make it at once
            partition_by=[self._partition_by],
            configuration=dict(self._configuration),
            storage_options=self._options(),
        )

    def _check(self) -> None:
        table = self.refresh()
        if table.metadata().partition_columns != [self._partition_by]:
            raise ConfigError(
                f"The Delta table {self.place.shown} exists and Clearwell did not make it: name another one in the "
                "route."
            )
        if "delta.setTransactionRetentionDuration" in table.metadata().configuration:
            raise ConfigError(
                f"The Delta table {self.place.shown} forgets application transactions, where Clearwell keeps its "
                "positions: unset delta.setTransactionRetentionDuration."
            )
        missing = _missing(Schema.from_arrow(self._columns), table.schema(), self.place.shown)
        if missing:
            table.alter.add_columns(missing)
            self.refresh()

    def _whole(self, table: DeltaTable, rows: pa.RecordBatch) -> pa.RecordBatch:
        """`rows` with nulls for columns of the table that we don't know (those of a later contract).

        Types are looked at first: deltalake would silently cast our values to whatever somebody made of a column.
        """
        schema = table.schema()
        if schema != self._seen:
            _missing(Schema.from_arrow(self._columns), schema, self.place.shown)
            self._seen = schema
        have = set(rows.schema.names)
        if have == {field.name for field in schema.fields}:
            return rows
        for field in pa.schema(schema.to_arrow()):
            if field.name not in have:
                rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
        return rows


def _missing(declared: Schema, existing: Schema, shown: str) -> list[Field]:
    """Fields of `declared` that `existing` lacks. Raises ConfigError where one has another type."""
    types = {field.name: json.loads(field.type.to_json()) for field in existing.fields}
    for field in declared.fields:
        type_ = json.loads(field.type.to_json())
        if types.get(field.name, type_) != type_:
            raise ConfigError(
                f'The column "{field.name}" of the Delta table {shown} is {_spelled(types[field.name])} but the '
                f"contract makes it {_spelled(type_)}: a changed type needs a new table in the route."
            )
    return [field for field in declared.fields if field.name not in types]


def _spelled(type_: Any) -> str:
    """A type of Delta's in words."""
    if isinstance(type_, str):
        return type_
    kind = str(type_.get("type", "struct"))
    return f"list of {_spelled(type_['elementType'])}" if kind == "array" else kind
