"""Reads the topics and the destinations of one stream and says whether the accounts add up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import compress
from typing import Any

from clearwell.accounts.keys import entity_of
from clearwell.accounts.ledger import CLEAN, DEAD, DROPPED, Ledger, PartitionBalance
from clearwell.contract.condition import compile_condition
from clearwell.contract.model import Contract, Route
from clearwell.kafka import admin, clean, dead, dropped
from clearwell.kafka.bounded import Reader, reader
from clearwell.kafka.groups import committed
from clearwell.kafka.names import clean_topic, cleaner_group, dead_topic, deliverer_group, dropped_topic, raw_topic
from clearwell.kafka.repeats import Repeats
from clearwell.pipeline.clean import CleanCodec
from clearwell.registry.targets import open_destination
from clearwell.settings import Settings
from clearwell.steps import bind


@dataclass(frozen=True, slots=True)
class DestinationBalance:
    """What one destination took, in events, and holds, in rows.

    `expected` is what its route wants of the clean events it has passed; `keys` how many different keys those have
    (of a feature view: entities), which is what it must hold. `waiting` are clean records it has not come to yet.
    """

    name: str
    expected: int
    delivered: int
    unrouted: int
    keys: int
    held: int | None
    waiting: int

    @property
    def balanced(self) -> bool:
        """Everything wanted was delivered, once, and is there (more, while deliveries go on)."""
        there = self.held is None or (self.held >= self.keys if self.waiting else self.held == self.keys)
        return self.delivered == self.expected and there


@dataclass(frozen=True, slots=True)
class Balance:
    """The accounts of one stream at one moment."""

    stream: str
    version: int
    partitions: tuple[PartitionBalance, ...]
    destinations: tuple[DestinationBalance, ...]
    reasons: dict[str, int]
    """Dead letters by reason, in events."""

    @property
    def balanced(self) -> bool:
        """Every partition and every destination adds up."""
        return all(one.balanced for one in self.partitions) and all(one.balanced for one in self.destinations)

    @property
    def settled(self) -> bool:
        """Nothing is under way: no event waits to be cleaned or delivered."""
        return not any(one.waiting for one in self.partitions) and not any(one.waiting for one in self.destinations)

    def total(self, column: str) -> int:
        """The sum of one column over all partitions."""
        return sum(getattr(one, column) for one in self.partitions)


def balance(settings: Settings, contract: Contract) -> Balance:
    """Read all of a stream's topics (as far as retention has them) and its destinations' books. Blocks.

    Raises Retryable when a server does not answer, ConfigError when topics or tables are missing.
    """
    return asyncio.run(_balance(settings, contract))


async def _balance(settings: Settings, contract: Contract) -> Balance:
    stream, version = contract.stream, contract.version
    ids = admin.require_topics(settings.kafka, stream, version)
    cleaned = committed(settings.kafka, cleaner_group(stream, version), raw_topic(stream))
    books = [_Books(settings, contract, route, ids[clean_topic(stream, version)]) for route in contract.routes]
    partitions, reasons = [], dict[str, int]()
    async with reader(settings.kafka) as log:
        for partition in range(admin.partition_count(settings.kafka, raw_topic(stream))):
            audit = _Partition(log, contract, ids[raw_topic(stream)], partition)
            offset, topic_id = cleaned.get(partition, (0, ""))
            partitions.append(await audit.run(offset if topic_id == audit.topic_id else 0, books, reasons))
    return Balance(stream, version, tuple(partitions), tuple(book.close() for book in books), reasons)


class _Books:
    """One destination's side of the accounts."""

    def __init__(self, settings: Settings, contract: Contract, route: Route, topic_id: str) -> None:
        schema = bind(contract).schema
        group = deliverer_group(contract.stream, contract.version, route.to)
        self.name = route.to
        self._store = open_destination(settings, route, schema, group)
        self._store.open()
        self._accounts = {one.partition: one for one in self._store.accounts(topic_id)}
        self._wanted = compile_condition(route.when, schema) if route.when is not None else None
        self._entity = entity_of(route, schema)
        self._codec = CleanCodec(schema)
        self._keys: set[Any] = set()
        self._expected = 0
        self._waiting = 0

    def note(self, partition: int, offsets: list[int], keys: list[bytes], values: list[bytes]) -> None:
        """Fresh clean records of one partition, at clean `offsets`."""
        next_offset = self._accounts[partition].next_offset if partition in self._accounts else 0
        passed = sum(offset < next_offset for offset in offsets)  # offsets rise
        self._waiting += len(offsets) - passed
        found: Iterable[Any] = keys[:passed]
        if self._wanted is not None or self._entity is not None:
            rows = self._codec.decode(values[:passed])
            wanted = [self._wanted is None or self._wanted(row) for row in rows]
            found = map(self._entity, rows) if self._entity is not None else found
            found = list(compress(found, wanted))
            passed = len(found)
        self._expected += passed
        self._keys.update(key for key in found if key is not None)

    def close(self) -> DestinationBalance:
        """The sum, and what the store holds now."""
        held = self._store.held()
        self._store.close()
        return DestinationBalance(
            name=self.name,
            expected=self._expected,
            delivered=sum(one.delivered for one in self._accounts.values()),
            unrouted=sum(one.unrouted for one in self._accounts.values()),
            keys=len(self._keys),
            held=held,
            waiting=self._waiting,
        )


class _Partition:
    """Reads what became of one raw partition."""

    def __init__(self, log: Reader, contract: Contract, topic_id: str, partition: int) -> None:
        self._log = log
        self._stream = contract.stream
        self._version = contract.version
        self.topic_id = topic_id
        self.partition = partition

    async def run(self, next_offset: int, books: Iterable[_Books], reasons: dict[str, int]) -> PartitionBalance:
        """The accounts of [oldest raw offset, next_offset)."""
        topic = raw_topic(self._stream)
        first, end = await self._log.begin(topic, self.partition), await self._log.end(topic, self.partition)
        ledger = Ledger(first, max(first, next_offset))
        await self._clean(ledger, books)
        await self._dead(ledger, reasons)
        await self._dropped(ledger)
        unaccounted = ledger.unaccounted()
        missing = await self._existing(unaccounted)
        return ledger.close(self.partition, len(unaccounted) - missing, missing, end - ledger.next)

    async def _clean(self, ledger: Ledger, books: Iterable[_Books]) -> None:
        repeats = Repeats()
        async for records in self._all(clean_topic(self._stream, self._version)):
            topics, offsets = clean.raw_identities(records)
            ledger.note(CLEAN, (o for t, o in zip(topics, offsets, strict=True) if t == self.topic_id))
            news = repeats.fresh_many(topics, offsets)
            fresh = [record for record, new in zip(records, news, strict=True) if new]
            for book in books:
                book.note(self.partition, [r.offset for r in fresh], [r.key for r in fresh], [r.value for r in fresh])

    async def _dead(self, ledger: Ledger, reasons: dict[str, int]) -> None:
        seen: set[int] = set()
        async for records in self._all(dead_topic(self._stream)):
            for letter in dead.known(records):
                if letter.destination is not None:  # a clean event: in its destination's accounts
                    continue
                if letter.topic_id == self.topic_id and letter.offset not in seen:
                    seen.add(letter.offset)
                    reasons[letter.reason] = reasons.get(letter.reason, 0) + 1
        ledger.note(DEAD, seen)

    async def _dropped(self, ledger: Ledger) -> None:
        async for records in self._all(dropped_topic(self._stream)):
            for drops in (dropped.decode(record.value) for record in records):
                if drops.topic == self.topic_id:
                    for offsets in drops.rules.values():
                        ledger.note(DROPPED, offsets)

    async def _existing(self, offsets: list[int]) -> int:
        """How many of `offsets` hold a record in raw: those are missing; the others are holes of the log."""
        if not offsets:
            return 0
        wanted, found = set(offsets), 0
        async for records in self._log.records(raw_topic(self._stream), self.partition, offsets[0], offsets[-1] + 1):
            found += sum(record.offset in wanted for record in records)
        return found

    def _all(self, topic: str) -> AsyncIterator[list[Any]]:
        return self._log.records(topic, self.partition, 0, 2**63 - 1)
