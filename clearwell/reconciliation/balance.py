"""Reads the topics, the sources and the destinations of one stream and says whether the accounts add up."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from clearwell.contract.model import Contract
from clearwell.errors import ConfigError
from clearwell.kafka.log_client import LogClient, RangeReader
from clearwell.kafka.names import clean_topic, cleaner_group, dead_topic, dropped_topic, raw_topic
from clearwell.reconciliation.account_holders import AccountHolders
from clearwell.reconciliation.destination_ledger import DestinationBalance, DestinationLedger
from clearwell.reconciliation.offset_ledger import CLEAN, DEAD, DROPPED, Ledger, PartitionBalance
from clearwell.reconciliation.source_accounts import SourceBalance
from clearwell.records import dead_letter, dropped
from clearwell.records.clean_reader import CleanReader
from clearwell.records.origins import Origins
from clearwell.worker.positions import CommitNote


@dataclass(frozen=True, slots=True)
class Balance:
    """The accounts of one stream at one moment."""

    stream: str
    version: int
    partitions: tuple[PartitionBalance, ...]
    destinations: tuple[DestinationBalance, ...]
    reasons: dict[str, int]
    """Dead letters by reason, in events."""
    sources: tuple[SourceBalance, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    """Destinations that don't take this version, each with why: their accounts can't be read."""
    cleaned: bool = True
    """Whether a cleaner has ever read this version's events."""

    @property
    def balanced(self) -> bool:
        """Every source, every partition and every destination registers up (invariant 11)."""
        parts = (self.sources, self.partitions, self.destinations)
        return not self.unread and all(account.balanced for part in parts for account in part)

    @property
    def settled(self) -> bool:
        """Nothing is under way: no event waits to be cleaned or delivered."""
        return not any(partition.waiting for partition in self.partitions) and not any(
            destination.waiting for destination in self.destinations
        )

    def total(self, column: str) -> int:
        """The sum of one column over all partitions."""
        return sum(getattr(partition, column) for partition in self.partitions)


def balance(log: LogClient, contract: Contract, holders: AccountHolders) -> Balance:
    """Read all of a stream's topics (as far as retention has them) and its destinations' accounts. Blocks.

    A destination that does not take this version is told of in `unread`, and the others are accounted for.
    Raises Retryable when a server does not answer, ConfigError when topics are missing.
    """
    return asyncio.run(_balance(log, contract, holders))


async def _balance(client: LogClient, contract: Contract, holders: AccountHolders) -> Balance:
    stream, version = contract.stream, contract.version
    sources = await asyncio.to_thread(holders.sources, stream)
    ids = client.require_topics(stream, version)
    cleaned = client.committed(cleaner_group(stream, version), raw_topic(stream))
    ledgers, unread = list[DestinationLedger](), list[tuple[str, str]]()
    partitions, reasons = [], dict[str, int]()
    async with AsyncExitStack() as stack:
        for route in contract.routes:
            try:
                ledgers.append(DestinationLedger(holders, contract, route, ids[clean_topic(stream, version)]))
                stack.callback(ledgers[-1].close)
            except ConfigError as error:
                unread.append((route.to, str(error)))
        log = await stack.enter_async_context(client.reader())
        for partition in sorted(client.begin_offsets(raw_topic(stream))):
            audit = _Partition(log, contract, ids[raw_topic(stream)], partition)
            offset, text = cleaned.get(partition, (0, ""))
            note = CommitNote.read(text)
            ours = note.topic_id == audit.topic_id
            audit.note = note if ours else audit.note
            partitions.append(await audit.run(offset if ours else None, ledgers, reasons))
        sums = tuple(ledger.sum() for ledger in ledgers)
    return Balance(stream, version, tuple(partitions), sums, reasons, sources, tuple(unread), bool(cleaned))


Refused = defaultdict[tuple[str, str | None], set[int | None]]
"""Clean offsets of events that destinations refused, by the destination and the clean topic's id."""


class _Partition:
    """Reads what became of one raw partition."""

    def __init__(self, log: RangeReader, contract: Contract, topic_id: str, partition: int) -> None:
        self._log = log
        self._stream = contract.stream
        self._version = contract.version
        self._raw = raw_topic(contract.stream)
        self.topic_id = topic_id
        self.note = CommitNote(topic_id)
        self.partition = partition
        self._forged = 0

    async def run(
        self, next_offset: int | None, ledgers: Iterable[DestinationLedger], reasons: dict[str, int]
    ) -> PartitionBalance:
        """The accounts of [oldest raw offset, next_offset); None: the cleaner has not said yet where it is."""
        first, end = await self._log.begin(self._raw, self.partition), await self._log.end(self._raw, self.partition)
        ledger = Ledger(first, max(first, next_offset or 0))
        if next_offset is not None:
            ledger.note_lost([(next_offset, first)])
        self._origins = Origins(lambda: (self.topic_id, {self.partition: end}))
        self._origins.refresh()
        refused, complete = await self._dead(ledger, reasons)
        await self._clean(ledger, ledgers, refused, complete)
        await self._dropped(ledger)
        unaccounted = ledger.unaccounted()
        missing, expired = await self._existing(unaccounted, ledger)
        waiting = await self._count(ledger.next, end)
        holes = len(unaccounted) - missing - expired
        return ledger.close(self.partition, holes, missing, expired, waiting, self._forged)

    async def _clean(
        self, ledger: Ledger, ledgers: Iterable[DestinationLedger], refused: Refused, complete: bool
    ) -> None:
        topic, oldest = clean_topic(self._stream, self._version), None
        reader = CleanReader(self.partition, self._origins)
        begin = await self._log.begin(topic, self.partition)
        for of_destination in ledgers:
            there = refused[of_destination.name, of_destination.topic_id]
            of_destination.begin(self.partition, begin, there, complete, parted=bool(self.note.branches))
        async for records in self._all(topic):
            new = reader.take(records)
            self._forged += len(new.forged)
            ours = [
                offset
                for topic_id, offset in zip(new.raw_topics, new.raw_offsets, strict=True)
                if topic_id == self.note.origin_at(offset)
            ]
            oldest = ours[0] if oldest is None and ours else oldest
            ledger.note(CLEAN, ours)
            for of_destination in ledgers:
                there = refused[of_destination.name, of_destination.topic_id]
                of_destination.note(self.partition, [(r.offset, r.key, r.value) for r in new.records], there)
        self._expire(ledger, begin, oldest)

    async def _dead(self, ledger: Ledger, reasons: dict[str, int]) -> tuple[Refused, bool]:
        """Notes rejected events; returns the others, and whether none of them was removed by retention."""
        seen: set[int] = set()
        refused: Refused = defaultdict(set)
        oldest, begin = None, await self._log.begin(dead_topic(self._stream), self.partition)
        async for records in self._all(dead_topic(self._stream)):
            for letter in dead_letter.known(records):
                if letter.destination:  # a clean event: in its destination's accounts
                    refused[letter.destination, letter.clean_topic_id].add(letter.clean_offset)
                elif letter.origin_topic_id == self.note.origin_at(letter.raw_offset) and letter.raw_offset not in seen:
                    oldest = letter.raw_offset if oldest is None else oldest
                    seen.add(letter.raw_offset)
                    reasons[letter.reason] = reasons.get(letter.reason, 0) + 1
        ledger.note(DEAD, seen)
        self._expire(ledger, begin, oldest)
        return refused, begin == 0

    async def _dropped(self, ledger: Ledger) -> None:
        oldest, begin = None, await self._log.begin(dropped_topic(self._stream), self.partition)
        async for records in self._all(dropped_topic(self._stream)):
            for drops in (dropped.decode(record.value) for record in records):
                ledger.note_lost(
                    lost_range for lost_range in drops.lost if self.note.origin_at(lost_range[0]) == drops.topic
                )
                for of_rule in drops.rules.values():
                    offsets = [offset for offset in of_rule if self.note.origin_at(offset) == drops.topic]
                    oldest = min(offsets) if oldest is None and offsets else oldest
                    ledger.note(DROPPED, offsets)
        self._expire(ledger, begin, oldest)

    def _expire(self, ledger: Ledger, begin: int, oldest: int | None) -> None:
        """A topic of accounts begins later than at 0: nothing is proven before the oldest event that it still tells of.

        Each of these topics has its own retention, and raw may be kept longer than all of them.
        """
        if begin > 0:
            ledger.expire(ledger.next if oldest is None else oldest)

    async def _existing(self, offsets: list[int], ledger: Ledger) -> tuple[int, int]:
        """How many of `offsets` hold a record in raw: missing, or expired; the others are holes of the log."""
        if not offsets:
            return 0, 0
        asked, missing, expired = set(offsets), 0, 0
        async for records in self._log.records(self._raw, self.partition, offsets[0], offsets[-1] + 1):
            for record in records:
                if record.offset in asked:
                    expired += ledger.is_expired(record.offset)
                    missing += not ledger.is_expired(record.offset)
        return missing, expired

    async def _count(self, first: int, end: int) -> int:
        """Events among raw offsets [first, end): markers of transactions, and what was aborted, are none."""
        count = 0
        async for records in self._log.records(self._raw, self.partition, first, end):
            count += len(records)
        return count

    def _all(self, topic: str) -> AsyncIterator[list[Any]]:
        return self._log.records(topic, self.partition, 0, 2**63 - 1)
