"""One destination's side of the accounts: what its route wants, what it took, refused, and holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from typing import Any

from clearwell.contract.model import Contract, Route
from clearwell.destinations.protocol import Accounts, LeavesOut
from clearwell.kafka.names import deliverer_group
from clearwell.pipeline.clean import CleanCodec
from clearwell.reconciliation.account_holders import AccountHolders
from clearwell.reconciliation.row_keys import entity_of
from clearwell.steps import bind

Fresh = tuple[int, Any, bytes]
"""A clean record that is no repeat: its clean offset, key and value."""


@dataclass(frozen=True, slots=True)
class DestinationBalance:
    """What one destination took and refused, in events, and holds, in rows.

    `expected` is what its route wants of the clean events it has passed; `delivered` counts replays of refused ones,
    and `refused` those that are left; `unknown` were refused without a dead letter. `keys` is what it must hold: how
    many different keys it was delivered (of a feature view: entities; where every event is kept: events); it may hold
    `most`, where it was set back and took events that it had refused. `waiting` are clean records still to come.
    `older` were delivered or refused, and have been removed from the clean topic since: they count as expected.
    `lost` were removed from it before this destination had read them. `late` are those of the delivered that came too
    late for some of what it makes of them, such as the windows of a feature view. `outlived` are rows beyond `most`
    of a stream whose log once lost its end (`kafka/lineage.py`): it keeps what it took of that.
    """

    name: str
    expected: int
    delivered: int
    refused: int
    unknown: int
    filtered: int
    keys: int
    most: int
    row_count: int | None
    waiting: int
    older: int
    lost: int
    late: int
    outlived: int

    @property
    def balanced(self) -> bool:
        """Everything wanted was delivered once, or refused, and is there (more, while deliveries go on)."""
        most = float("inf") if self.waiting or self.older else self.most
        there = self.row_count is None or self.keys <= self.row_count <= most + self.outlived
        return self.delivered + self.refused == self.expected + self.older and not self.unknown and there


class DestinationLedger:
    """Keeps the accounts of one destination while the clean topic `topic_id` is read. Close it."""

    def __init__(self, holders: AccountHolders, contract: Contract, route: Route, topic_id: str) -> None:
        schema = bind(contract).schema
        group = deliverer_group(contract.stream, contract.version, route.to)
        self.name = route.to
        self.topic_id = topic_id
        self._holders = holders
        self._stream = contract.stream
        self._store = holders.destination(route, schema, group)
        try:
            self._store.open()
            self._accounts = {account.partition: account for account in self._store.accounts(topic_id)}
        except BaseException:
            self._store.close()
            raise
        self._wants = route.wants(schema)
        # what stands in for a feature store in a test keeps a row a key
        self._entity = entity_of(route, schema) if self._store.kind == route.kind else None
        self._codec = CleanCodec(schema)
        self._keys: set[Any] = set()
        self._refused_keys: set[Any] = set()
        self._expected: defaultdict[int, int] = defaultdict(int)  # by partition
        self._begins: dict[int, int] = {}
        self._waiting = self._left = self._replays = 0
        self._complete, self._parted = True, False

    def begin(self, partition: int, first: int, refused: Set[int | None], complete: bool, parted: bool) -> None:
        """A partition of the clean topic begins at `first`; `refused` as in `note`; `complete`: no letter is gone.

        `parted`: the cleaner has read events there that Kafka lost afterwards.
        """
        self._begins[partition] = first
        self._parted = self._parted or parted
        self._complete = self._complete and complete
        for offset in refused:
            if offset is not None and offset < first:  # its event is gone, its letter is not
                replayed = (partition, offset) in self._replayed
                self._replays, self._left = self._replays + replayed, self._left + (not replayed)

    def note(self, partition: int, fresh: Sequence[Fresh], refused: Set[int | None]) -> None:
        """Clean records of one partition, in order; `refused` are clean offsets of this destination's dead letters."""
        next_offset = self._accounts[partition].next_offset if partition in self._accounts else 0
        passed = sum(offset < next_offset for offset, _, _ in fresh)  # offsets rise
        self._waiting += len(fresh) - passed
        offsets, keys = self._routed(partition, fresh[:passed])
        self._expected[partition] += len(offsets)
        if refused:
            taken = [offset not in refused or (partition, offset) in self._replayed for offset in offsets]
            left = len(taken) - sum(taken)
            self._left += left
            self._replays += sum(offset in refused for offset in offsets) - left
            self._refused_keys.update(compress(keys, (not flag for flag in taken)))
            keys = list(compress(keys, taken))
        self._keys.update(keys)

    def close(self) -> None:
        """Let go of the store; calling it again is harmless."""
        self._store.close()

    def sum(self) -> DestinationBalance:
        """All that was noted, and what the store holds now."""
        row_count = self._store.row_count()
        late = self._store.late() if isinstance(self._store, LeavesOut) else 0
        known = self._accounts.values()
        said = sum(
            accounts.refused for accounts in known
        )  # by the store; set back, it may have taken what it refused before
        refused = min(said, self._left)
        keys, refused_keys = self._keys - {None}, self._refused_keys - {None}
        most = len(keys) if said == self._left + self._replays else len(keys | refused_keys)
        return DestinationBalance(
            name=self.name,
            expected=sum(self._expected.values()),
            delivered=sum(accounts.delivered for accounts in known) + said - refused,
            refused=refused,
            unknown=max(0, said - self._left - self._replays) if self._complete else 0,
            filtered=sum(accounts.unrouted for accounts in known),
            keys=len(keys),
            most=most,
            row_count=row_count,
            waiting=self._waiting,
            older=sum(map(self._older, known)),
            lost=sum(map(self._lost, self._begins)),
            late=late,
            outlived=max(0, (row_count or 0) - most) if self._parted else 0,
        )

    def _older(self, accounts: Accounts) -> int:
        """How many of the events before the clean topic's beginning it took or refused, as its counters tell."""
        before = accounts.delivered + accounts.refused - self._expected[accounts.partition]
        return min(max(0, before), min(self._begins.get(accounts.partition, 0), accounts.next_offset))

    def _lost(self, partition: int) -> int:
        """Clean offsets that it has passed and not counted, or will pass so: a clean topic has no holes of its own."""
        known, first = self._accounts.get(partition), self._begins[partition]
        if known is None:
            return 0
        counted = known.delivered + known.unrouted + known.repeats + known.refused
        return min(max(0, known.next_offset - counted), first) + max(0, first - known.next_offset)

    def _routed(self, partition: int, fresh: Sequence[Fresh]) -> tuple[list[int], list[Any]]:
        """Clean offsets, and what the store counts by, of the records that the route wants."""
        offsets, keys = [record[0] for record in fresh], [record[1] for record in fresh]
        if self._store.keeps_history and self._entity is None:
            keys = [(partition, offset) for offset in offsets]
        if self._wants is None and self._entity is None:
            return offsets, keys
        rows = self._codec.decode([record[2] for record in fresh])
        routed = [self._wants is None or self._wants(row) for row in rows]
        keys = list(map(self._entity, rows)) if self._entity is not None else keys
        return list(compress(offsets, routed)), list(compress(keys, routed))

    @cached_property
    def _replayed(self) -> frozenset[tuple[int, int]]:
        """Clean partitions and offsets of the dead letters that a replay delivered."""
        return self._holders.replayed(self._stream, self.name, self.topic_id)
