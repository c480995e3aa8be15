"""Changes of rows as events: what a table's columns look like in JSON, and the two envelopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from clearwell.source import EVENT_LIMIT, Refusal, SourceEvent, refuse
from connectors.postgres_cdc.column_types import ToJson

Values = Sequence[bytes | None]
UNCHANGED: Any = object()
"""Stands for a large value (TOAST) that an update did not touch: the server does not send it."""

ADDED = ("_op", "_table", "_lsn", "_commit_time", "_xid", "_unchanged", "_deleted")
"""Fields that the envelope `row` adds; no column may have such a name."""

_encode = msgspec.json.Encoder().encode


class Transaction(NamedTuple):
    """Which transaction a change is of. `id` and `lsn` are the same but for snapshots."""

    lsn: str
    time: str
    xid: int | None


class Table:
    """Columns of a table as they are now (a change of them makes a new one)."""

    __slots__ = ("columns", "converts", "key", "name", "prefixes", "prefixes_quoted", "refusal")

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        converts: Sequence[ToJson],
        key: Sequence[int],
        taken: frozenset[str] = frozenset(),
    ) -> None:
        """`name` is "schema.table"; `key` holds places of columns; no column may have a name that is `taken`."""
        self.refusal = None if taken.isdisjoint(columns) else Refusal.NAME_TAKEN
        self.name = name
        self.columns = tuple(columns)
        self.key = tuple(key)
        self.converts = tuple(converts)
        self.prefixes = tuple(_encode(column) + b":" for column in columns)
        self.prefixes_quoted = tuple(_encode(column) for column in columns)

    def fields(self, values: Values) -> bytes:
        """The members of the JSON object of a row, without its braces and without what is unchanged."""
        return b",".join(
            [
                prefix + (b"null" if value is None else convert(value))
                for prefix, convert, value in zip(self.prefixes, self.converts, values, strict=False)
                if value is not UNCHANGED
            ]
        )

    def key_fields(self, values: Values) -> bytes:
        """As `fields`, of the key alone."""
        parts = ((self.prefixes[index], self.converts[index], values[index]) for index in self.key)
        return b",".join(prefix + (b"null" if value is None else convert(value)) for prefix, convert, value in parts)

    def key_of(self, values: Values) -> tuple[bytes | None, ...]:
        """The key's values, to compare them."""
        return tuple([values[index] for index in self.key])

    def unchanged(self, values: Values) -> bytes:
        """A JSON list of the columns that an update did not touch and the server did not send."""
        names = [name for name, value in zip(self.prefixes_quoted, values, strict=False) if value is UNCHANGED]
        return b"[" + b",".join(names) + b"]"


Write = Callable[[str, Table, Transaction, Values | None, Values | None], bytes]
"""(op, table, moment, before, after) → an event's JSON."""


def row_event(op: str, table: Table, moment: Transaction, before: Values | None, after: Values | None) -> bytes:
    """The new row, flat, with fields that begin with an underscore beside it; of a deleted row what is known of it."""
    values = after if after is not None else before
    parts = [table.fields(values)] if values is not None else []
    xid = b"null" if moment.xid is None else b"%d" % moment.xid
    parts.append(
        b'"_op":"%b","_table":%b,"_lsn":"%b","_commit_time":"%b","_xid":%b'
        % (op.encode(), _encode(table.name), moment.lsn.encode(), moment.time.encode(), xid)
    )
    if op == "d":
        parts.append(b'"_deleted":true')
    elif values is not None and UNCHANGED in values:
        parts.append(b'"_unchanged":' + table.unchanged(values))
    return b"{" + b",".join(parts) + b"}"


def debezium_like_event(
    op: str, table: Table, moment: Transaction, before: Values | None, after: Values | None
) -> bytes:
    """Before and after in objects of their own."""
    values = after if after is not None else before
    xid = b"null" if moment.xid is None else b"%d" % moment.xid
    head = b'{"op":"%b","table":%b,"lsn":"%b","commit_ts":"%b","xid":%b,"key":%b,"before":%b,"after":%b' % (
        op.encode(),
        _encode(table.name),
        moment.lsn.encode(),
        moment.time.encode(),
        xid,
        b"null" if values is None else b"{" + table.key_fields(values) + b"}",
        b"null" if before is None else b"{" + table.fields(before) + b"}",
        b"null" if after is None else b"{" + table.fields(after) + b"}",
    )
    if after is not None and UNCHANGED in after:
        head += b',"unchanged":' + table.unchanged(after)
    return head + b"}"


ENVELOPES: dict[str, Write] = {"row": row_event, "debezium-like": debezium_like_event}


def event_of(
    event_id: str,
    write: Write,
    op: str,
    table: Table,
    moment: Transaction,
    before: Values | None,
    after: Values | None,
) -> SourceEvent:
    """One event, whatever the row holds: what can't be written is refused, and its neighbours flow."""
    refusal = table.refusal
    try:
        data = b"" if refusal else write(op, table, moment, before, after)
    except Exception:  # a text that is none of its type's, as a server of other settings may send it
        refusal = Refusal.NOT_JSON
    if refusal:
        return SourceEvent(event_id, f"refused: {refusal}".encode(), refusal)
    return refuse(event_id, len(data), data) if len(data) > EVENT_LIMIT else SourceEvent(event_id, data)
