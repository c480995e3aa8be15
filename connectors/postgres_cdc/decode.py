"""pgoutput, protocol version 1 ("Logical Replication Message Formats" in PostgreSQL's manual): messages to events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct

from clearwell.source import SourceEvent
from connectors.postgres_cdc.column_types import Types
from connectors.postgres_cdc.events import UNCHANGED, Table, Transaction, Values, Write, event_of

_BEGIN = Struct("!QqI")
_COMMIT = Struct("!QQq")
_INT = Struct("!I")
_SHORT = Struct("!H")
_COLUMN = Struct("!Ii")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_TEXT, _NULL = ord("t"), ord("n")


def lsn_text(lsn: int) -> str:
    """A place in the log as PostgreSQL writes it, such as "0/16B3748"."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """The other way. Raises ValueError."""
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def time_text(micros: int) -> str:
    """ISO 8601 in UTC of PostgreSQL's microseconds since 2000."""
    return (_EPOCH + timedelta(microseconds=micros)).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Decoder:
    """Holds the tables the server has told of, and the transaction it is in.

    `done`: everything that committed before this place has been decoded. `transaction`: the place of the commit of the
    transaction that is under way, 0 when there is none; `index`: the events there were of it so far. `changes`: those
    of rows that the server has told of, without what was read before; one of a row's key counts as two.
    """

    def __init__(
        self,
        types: Types,
        write: Write,
        taken: frozenset[str],
        look_up: Callable[[Sequence[int]], None],
        catalog_key: Callable[[str], Sequence[str]],
        start: int,
        skip: tuple[int, int],
    ) -> None:
        """`look_up` learns types of these OIDs from the catalog; `catalog_key` says a table's key columns.

        The first `skip[1]` events of the transaction that commits at `skip[0]` were read before.
        """
        self.done = start
        self.transaction = 0
        self.index = 0
        self.changes = 0
        self._types, self._write, self._taken = types, write, taken
        self._look_up, self._catalog_key = look_up, catalog_key
        self._skip = skip
        self._unread_from = 0
        self._moment = Transaction("", "", None)
        self._tables: dict[int, Table] = {}
        self._full: set[int] = set()
        self._handlers = {
            ord("B"): self._begin,
            ord("C"): self._commit,
            ord("R"): self._relation,
            ord("I"): self._insert,
            ord("U"): self._update,
            ord("D"): self._delete,
            ord("T"): self._truncate,
        }

    def feed(self, data: bytes, events: list[SourceEvent]) -> None:
        """Decode one message; append the events it makes."""
        handler = self._handlers.get(data[0])
        if handler is not None:  # others (types, origins, messages) tell nothing of rows
            handler(data, events)

    def _begin(self, data: bytes, events: list[SourceEvent]) -> None:
        self.transaction, micros, xid = _BEGIN.unpack_from(data, 1)
        self.index = 0
        self._unread_from = self._skip[1] if self._skip[0] == self.transaction else 0
        self._moment = Transaction(lsn_text(self.transaction), time_text(micros), xid)

    def _commit(self, data: bytes, events: list[SourceEvent]) -> None:
        _, self.done, _ = _COMMIT.unpack_from(data, 2)
        self.transaction = self.index = 0

    def _relation(self, data: bytes, events: list[SourceEvent]) -> None:
        oid = _INT.unpack_from(data, 1)[0]
        schema, at = _string(data, 5)
        name, at = _string(data, at)
        identity, at = data[at], at + 1
        count = _SHORT.unpack_from(data, at)[0]
        at += 2
        columns: list[str] = []
        kinds: list[int] = []
        flagged: list[int] = []
        for index in range(count):
            if data[at] & 1:
                flagged.append(index)
            column, at = _string(data, at + 1)
            kinds.append(_COLUMN.unpack_from(data, at)[0])
            columns.append(column)
            at += _COLUMN.size
        if unknown := self._types.unknown(kinds):
            self._look_up(unknown)
        qualified = f"{schema or 'pg_catalog'}.{name}"
        if identity == ord("f"):  # all columns are flagged then, so the catalog says what the key is
            flagged = [columns.index(key_name) for key_name in self._catalog_key(qualified) if key_name in columns]
        converts = [self._types.to_json(kind) for kind in kinds]
        self._tables[oid] = Table(qualified, columns, converts, flagged, self._taken)

    def _insert(self, data: bytes, events: list[SourceEvent]) -> None:
        table = self._tables[_INT.unpack_from(data, 1)[0]]
        self._add("c", table, None, _tuple(data, 6)[0], events)

    def _update(self, data: bytes, events: list[SourceEvent]) -> None:
        table = self._tables[_INT.unpack_from(data, 1)[0]]
        before: list[bytes | None] | None = None
        at, whole = 6, data[5] == ord("O")
        if data[5] != ord("N"):
            before, at = _tuple(data, at)
            at += 1
        after, _ = _tuple(data, at)
        if before is None:
            self._add("u", table, None, after, events)
            return
        # Of REPLICA IDENTITY FULL, the old row knows what the new one leaves out.
        known = range(len(after)) if whole else table.key
        after = [before[at] if new is UNCHANGED and at in known else new for at, new in enumerate(after)]
        if table.key_of(before) != table.key_of(after):  # a row under another key is another row
            self._add("d", table, before if whole else _key_alone(table, before), None, events)
            self._add("c", table, None, after, events)
        else:
            self._add("u", table, before if whole else None, after, events)

    def _delete(self, data: bytes, events: list[SourceEvent]) -> None:
        table = self._tables[_INT.unpack_from(data, 1)[0]]
        before, _ = _tuple(data, 6)
        self._add("d", table, before if data[5] == ord("O") else _key_alone(table, before), None, events)

    def _truncate(self, data: bytes, events: list[SourceEvent]) -> None:
        count = _INT.unpack_from(data, 1)[0]
        for index in range(count):
            self._add("t", self._tables[_INT.unpack_from(data, 6 + 4 * index)[0]], None, None, events)

    def _add(
        self, op: str, table: Table, before: Values | None, after: Values | None, events: list[SourceEvent]
    ) -> None:
        index = self.index
        self.index = index + 1
        if index >= self._unread_from:
            self.changes += 1
            event_id = f"{self._moment.lsn}#{index}"
            events.append(event_of(event_id, self._write, op, table, self._moment, before, after))


def _key_alone(table: Table, values: Values) -> list[bytes | None]:
    """A row of which the server sent the key alone: the other columns are not null, they are not known."""
    return [value if index in table.key else UNCHANGED for index, value in enumerate(values)]


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(errors="backslashreplace"), end + 1


def _tuple(
    data: bytes, at: int, size_of: Callable[[bytes, int], tuple[int]] = _INT.unpack_from
) -> tuple[list[bytes | None], int]:
    values: list[bytes | None] = []
    append = values.append
    count = _SHORT.unpack_from(data, at)[0]
    at += 2
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + size_of(data, at + 1)[0]
            append(data[start:at])
        else:
            append(None if kind == _NULL else UNCHANGED)
            at += 1
    return values, at
