"""One destination's side of the accounts: what its route wants, what it took, refused, and holds."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

from clearwell.accounts.keys import entity_of
from clearwell.contract.condition import compile_condition
from clearwell.contract.model import Contract, Route
from clearwell.kafka.names import deliverer_group
from clearwell.pipeline.clean import CleanCodec
from clearwell.registry import Registry, dead_letters
from clearwell.registry.targets import open_destination
from clearwell.settings import Settings
from clearwell.steps import bind

Fresh = tuple[int, Any, bytes]
"""A clean record that is no repeat: its clean offset, key and value."""


@dataclass(frozen=True, slots=True)
class DestinationBalance:
    """What one destination took and refused, in events, and holds, in rows.

    `expected` is what its route wants of the clean events it has passed; `delivered` counts replays of refused ones,
    and `refused` the dead letters that are left. `keys` is what it must hold: how many different keys it was delivered
    (of a feature view: entities; where every event is kept: events). `waiting` are clean records still to come.
    """

    name: str
    expected: int
    delivered: int
    refused: int
    unrouted: int
    keys: int
    held: int | None
    waiting: int

    @property
    def balanced(self) -> bool:
        """Everything wanted was delivered once, or refused, and is there (more, while deliveries go on)."""
        there = self.held is None or (self.held >= self.keys if self.waiting else self.held == self.keys)
        return self.delivered + self.refused == self.expected and there


class Books:
    """Keeps the accounts of one destination while the clean topic `topic_id` is read."""

    def __init__(self, settings: Settings, contract: Contract, route: Route, topic_id: str) -> None:
        schema = bind(contract).schema
        group = deliverer_group(contract.stream, contract.version, route.to)
        self.name = route.to
        self.topic_id = topic_id
        self._settings = settings
        self._stream = contract.stream
        self._store = open_destination(settings, route, schema, group)
        self._store.open()
        self._accounts = {one.partition: one for one in self._store.accounts(topic_id)}
        self._wanted = compile_condition(route.when, schema) if route.when is not None else None
        self._entity = entity_of(route, schema)
        self._codec = CleanCodec(schema)
        self._keys: set[Any] = set()
        self._expected = self._waiting = self._refused = self._replays = 0

    def note(self, partition: int, fresh: Sequence[Fresh], refused: Set[int | None]) -> None:
        """Clean records of one partition, in order; `refused` are clean offsets of this destination's dead letters."""
        next_offset = self._accounts[partition].next_offset if partition in self._accounts else 0
        passed = sum(offset < next_offset for offset, _, _ in fresh)  # offsets rise
        self._waiting += len(fresh) - passed
        offsets, keys = self._routed(partition, fresh[:passed])
        self._expected += len(offsets)
        if refused:
            was_refused = [offset in refused for offset in offsets]
            taken = [(partition, offset) in self._replayed for offset in offsets]
            self._replays += sum(was and now for was, now in zip(was_refused, taken, strict=True))
            self._refused += sum(was and not now for was, now in zip(was_refused, taken, strict=True))
            keys = list(compress(keys, (now or not was for was, now in zip(was_refused, taken, strict=True))))
        self._keys.update(key for key in keys if key is not None)

    def close(self) -> DestinationBalance:
        """The sum, and what the store holds now."""
        held = self._store.held()
        self._store.close()
        return DestinationBalance(
            name=self.name,
            expected=self._expected,
            delivered=sum(one.delivered for one in self._accounts.values()) + self._replays,
            refused=self._refused,
            unrouted=sum(one.unrouted for one in self._accounts.values()),
            keys=len(self._keys),
            held=held,
            waiting=self._waiting,
        )

    def _routed(self, partition: int, fresh: Sequence[Fresh]) -> tuple[list[int], list[Any]]:
        """Clean offsets, and what the store counts by, of the records that the route wants."""
        offsets, keys = [one[0] for one in fresh], [one[1] for one in fresh]
        if self._store.keeps_history and self._entity is None:
            keys = [(partition, offset) for offset in offsets]
        if self._wanted is None and self._entity is None:
            return offsets, keys
        rows = self._codec.decode([one[2] for one in fresh])
        wanted = [self._wanted is None or self._wanted(row) for row in rows]
        keys = list(map(self._entity, rows)) if self._entity is not None else keys
        return list(compress(offsets, wanted)), list(compress(keys, wanted))

    @cached_property
    def _replayed(self) -> frozenset[tuple[int, int]]:
        """Clean partitions and offsets of the dead letters that a replay delivered."""
        registry = Registry(self._settings.postgres)
        try:
            with registry.session() as session:
                return dead_letters.delivered(session, self._stream, self.name, self.topic_id)
        finally:
            registry.close()
