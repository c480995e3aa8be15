"""Where each group is in each clean partition, in the same SQL database as the rows (invariant 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, Table, inspect, select, update
from sqlalchemy.engine import Dialect

from clearwell.destinations.fencing import older_epoch, older_generation
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, Start, counts_of
from clearwell.destinations.sql.column_types import KEY_LENGTH, from_json, text_type, to_json
from clearwell.destinations.sql.table import new_table

TABLE = "clearwell_positions"
_KEY = ("group_name", "topic_id", "partition_number")
_COUNTS = ("delivered", "unrouted", "repeats", "refused")
_NUMBERS = ("next_offset", "generation", "epoch", *_COUNTS)


class SqlPositions:
    """The table of positions of one group. Every method is called inside a transaction."""

    def __init__(self, group: str, namespace: str | None, dialect: Dialect) -> None:
        """`namespace` is the database schema the table is in; None: the usual one."""
        columns: list[Column[Any]] = [Column(name, text_type(dialect, KEY_LENGTH), nullable=False) for name in _KEY[:2]]
        columns.append(Column(_KEY[2], Integer(), nullable=False, autoincrement=False))
        columns += [Column(name, BigInteger(), nullable=False) for name in _NUMBERS]
        columns.append(Column("marks", text_type(dialect, None), nullable=False))
        self._table: Table = new_table(TABLE, namespace, dialect, columns, _KEY)
        self._group = group

    def create(self, connection: Connection) -> None:
        """Where it is missing."""
        if not self._is_there(connection):
            self._table.create(connection)

    def claim(self, connection: Connection, topic_id: str, partition: int, generation: int) -> Claim:
        """A new epoch. Raises Fenced; two claims of a new partition at once end in a database error for one."""
        position_key = self._place(topic_id, partition)
        known = (
            connection.execute(select(self._table).where(*self._at(position_key)).with_for_update()).mappings().first()
        )
        if known is None:
            first = dict.fromkeys(_NUMBERS, 0) | {"generation": generation, "epoch": 1, "marks": "{}"}
            connection.execute(self._table.insert(), [position_key | first])
            return Claim(1, 0, {})
        if known["generation"] > generation:
            raise older_generation(self._group, partition, generation, f"the table {TABLE}")
        epoch = known["epoch"] + 1
        connection.execute(
            update(self._table).where(*self._at(position_key)).values(generation=generation, epoch=epoch)
        )
        return Claim(epoch, known["next_offset"], from_json(known["marks"]))

    def advance(self, connection: Connection, batch: CleanBatch) -> bool:
        """Move the position; its row's lock keeps a late owner out until the transaction ends.

        False when the batch was written before. Raises Fenced when the partition was claimed since.
        """
        columns = self._table.c
        at = self._at(self._place(batch.topic_id, batch.partition))
        known = connection.execute(select(self._table).where(*at).with_for_update()).mappings().first()
        if known is None or known["epoch"] != batch.epoch:
            raise older_epoch(self._group, batch)
        if known["next_offset"] >= batch.next_offset:
            return False
        counts: dict[str, Any] = {name: columns[name] + count for name, count in counts_of(batch).items()}
        changed = {"next_offset": batch.next_offset, "marks": to_json(dict(batch.high_watermarks)), **counts}
        connection.execute(update(self._table).where(*at).values(changed))
        return True

    def rewind(self, connection: Connection, topic_id: str, start: Start) -> None:
        """A new epoch at an earlier position; nothing where it is that early already."""
        was, columns = start.accounts, self._table.c
        later = (*self._at(self._place(topic_id, was.partition)), columns.next_offset > was.next_offset)
        moved: dict[str, Any] = {name: getattr(was, name) for name in ("next_offset", *_COUNTS)}
        moved |= {"marks": to_json(dict(start.high_watermarks)), "epoch": columns.epoch + 1}
        connection.execute(update(self._table).where(*later).values(moved))

    def accounts(self, connection: Connection, topic_id: str) -> Sequence[Accounts]:
        """One entry for each partition that was claimed, by number; none where there is no table yet."""
        if not self._is_there(connection):
            return []
        columns = self._table.c
        selected = [columns[name] for name in ("partition_number", "next_offset", *_COUNTS)]
        mine = (columns.group_name == self._group, columns.topic_id == topic_id)
        rows = connection.execute(select(*selected).where(*mine).order_by(columns.partition_number)).all()
        return [Accounts(*row) for row in rows]

    def _is_there(self, connection: Connection) -> bool:
        return inspect(connection).has_table(TABLE, schema=self._table.schema)

    def _place(self, topic_id: str, partition: int) -> dict[str, Any]:
        return dict(zip(_KEY, (self._group, topic_id, partition), strict=True))

    def _at(self, position_key: dict[str, Any]) -> list[Any]:
        return [self._table.c[name] == value for name, value in position_key.items()]
