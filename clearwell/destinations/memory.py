"""A destination in memory with the behaviour of the real ones, for tests and for trying things out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.fencing import older_epoch, older_generation
from clearwell.destinations.newest import RowVersion, key_of, newest_rows, replaces
from clearwell.destinations.protocol import (
    Accounts,
    Claim,
    CleanBatch,
    DestinationConfig,
    DestinationContext,
    RowReason,
    RowsRefused,
    Start,
)
from clearwell.destinations.shape import IDENTITY, check_schema


@dataclass(frozen=True, slots=True)
class _Position:
    generation: int
    epoch: int
    accounts: Accounts
    high_watermarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryStore:
    """What outlives a destination, as a database outlives a process: rows as dicts by key, and positions."""

    rows: dict[Any, tuple[RowVersion, dict[str, Any]]] = field(default_factory=dict)
    positions: dict[tuple[str, str, int], _Position] = field(default_factory=dict)


class MemoryDestination:
    """One stream in a MemoryStore; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "memory"
    Config: ClassVar[type[DestinationConfig]] = DestinationConfig
    Options: ClassVar[type[RouteOptions]] = RouteOptions
    keeps_history: ClassVar[bool] = False
    registered: ClassVar[bool] = False
    redelivers: ClassVar[bool] = False

    def __init__(self, store: MemoryStore, schema: CleanSchema, group: str) -> None:
        """Raises ConfigError when the schema can't be stored."""
        check_schema(schema, IDENTITY)
        self._store = store
        self._schema = schema
        self._group = group
        self._names = [field.name for field in schema.fields]
        self._key = key_of(schema)

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """A store that ends with the object."""
        return cls(MemoryStore(), context.schema, context.group)

    def open(self) -> None:
        """Nothing to do."""

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """A new epoch for the caller."""
        position_key = (self._group, topic_id, partition)
        known = self._store.positions.get(position_key, _Position(generation, 0, Accounts(partition, 0)))
        if known.generation > generation:
            raise older_generation(self._group, partition, generation, "the memory store")
        claimed = replace(known, generation=generation, epoch=known.epoch + 1)
        self._store.positions[position_key] = claimed
        return Claim(claimed.epoch, claimed.accounts.next_offset, dict(claimed.high_watermarks))

    def write(self, batch: CleanBatch) -> None:
        """All or nothing, as a transaction would be."""
        position_key = (self._group, batch.topic_id, batch.partition)
        known = self._store.positions.get(position_key)
        if known is None or known.epoch != batch.epoch:
            raise older_epoch(self._group, batch)
        if known.accounts.next_offset >= batch.next_offset:
            return
        for key, version, row in [self._row(batch, index) for index in newest_rows(batch, self._schema)]:
            if key not in self._store.rows or replaces(version, self._store.rows[key][0]):
                self._store.rows[key] = (version, row)
        counted = Accounts(
            batch.partition,
            batch.next_offset,
            known.accounts.delivered + len(batch.rows),
            known.accounts.unrouted + len(batch.unrouted),
            known.accounts.repeats + len(batch.repeats),
            known.accounts.refused + len(batch.refused),
        )
        self._store.positions[position_key] = replace(
            known, accounts=counted, high_watermarks=dict(batch.high_watermarks)
        )

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """One entry for each partition that was claimed, by number."""
        mine = {
            position_key: known
            for position_key, known in self._store.positions.items()
            if position_key[:2] == (self._group, topic_id)
        }
        return [known.accounts for _, known in sorted(mine.items())]

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """All of them."""
        for start in starts:
            position_key = (self._group, topic_id, start.accounts.partition)
            known = self._store.positions.get(position_key)
            if known is not None and known.accounts.next_offset > start.accounts.next_offset:
                earlier = replace(
                    known, epoch=known.epoch + 1, accounts=start.accounts, high_watermarks=dict(start.high_watermarks)
                )
                self._store.positions[position_key] = earlier

    def row_count(self) -> int:
        """Counts the rows."""
        return len(self._store.rows)

    def close(self) -> None:
        """Nothing to do."""

    def _row(self, batch: CleanBatch, index: int) -> tuple[Any, RowVersion, dict[str, Any]]:
        values = batch.rows[index]
        key = self._key(values)
        if key is None or (len(self._schema.key) > 1 and None in key):
            raise RowsRefused(RowReason.CONSTRAINT, f"A row of {batch.coordinates()} has no key.")
        row = dict(zip(self._names, values, strict=True))
        version = RowVersion(
            row[self._schema.event_time], batch.raw_topics[index], batch.raw_offsets[index], batch.partition
        )
        return key, version, row
