"""Delivering again: where a destination would begin, what its accounts were there, and how many events come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, cast

from clearwell.contract.model import Contract, Route
from clearwell.destinations.protocol import Accounts, Destination, Replayable, Start
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic, deliverer_group
from clearwell.kafka.range_reader import RangeReader, reader
from clearwell.pipeline.clean import CleanCodec
from clearwell.plugins.routes import open_destination
from clearwell.records import clean
from clearwell.records.duplicates import Duplicates
from clearwell.records.recent_history import RecentHistory
from clearwell.settings import Settings
from clearwell.steps import bind

Report = Callable[[str, int, int], None]
"""Is told what is going on, how much of it is done, and of how much."""


_COUNTING = "counting what was delivered before"


def _silent(_what: str, _done: int, _total: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Replay:
    """A position before and after, by partition; `events` were delivered since, and will be again.

    `sends_again`: whoever receives them gets them a second time. `starts` are the partitions that go back.
    """

    old: Mapping[int, int]
    new: Mapping[int, int]
    events: int
    sends_again: bool
    starts: Sequence[Start]


def plan(
    settings: Settings, contract: Contract, route: Route, wanted: Mapping[int, int], report: Report = _silent
) -> Replay:
    """What setting a destination back to the clean offsets `wanted` means; changes nothing. Blocks.

    A partition that is not beyond its offset stays. The accounts are those that the destination had there, counted
    from the log, so that the balance still adds up; `report` is told how far that is, in events. Raises ConfigError
    where the destination can't be set back.
    """
    return asyncio.run(_plan(settings, contract, route, wanted, report))


def carry_out(settings: Settings, contract: Contract, route: Route, planned: Replay) -> None:
    """Set the destination back as planned; one that has gone on meanwhile is set back all the same. Blocks."""
    store, topic_id = _opened(settings, contract, route)
    try:
        store.set_back(topic_id, planned.starts)
    finally:
        store.close()


async def _plan(
    settings: Settings, contract: Contract, route: Route, wanted: Mapping[int, int], report: Report
) -> Replay:
    store, topic_id = _opened(settings, contract, route)
    try:
        known = {one.partition: one for one in store.accounts(topic_id)}
    finally:
        store.close()
    earlier = {at: offset for at, offset in wanted.items() if at in known and offset < known[at].next_offset}
    async with reader(settings.kafka) as log:
        past = _Past(log, settings, contract, route, partial(report, _COUNTING), sum(earlier.values()))
        starts = [await past.start(topic_id, known[at], offset) for at, offset in sorted(earlier.items())]
    again = sum(known[one.accounts.partition].delivered - one.accounts.delivered for one in starts)
    old = {partition: one.next_offset for partition, one in known.items()}
    return Replay(old, old | earlier, again, store.sends_again, starts)


class _Store(Destination, Replayable, Protocol):
    """A destination that can be set back."""


def _opened(settings: Settings, contract: Contract, route: Route) -> tuple[_Store, str]:
    """The destination of a route, and the id of its clean topic."""
    group = deliverer_group(contract.stream, contract.version, route.to)
    store = open_destination(settings, route, bind(contract).schema, group)
    if not isinstance(store, Replayable):
        raise ConfigError(
            f"{route.to} can't be set back: its kind, {route.kind}, might show events twice. Deliver into an empty one "
            "instead, by a route to a destination of a new name, which starts at the oldest event."
        )
    topic_id = admin.topic_id(settings.kafka, clean_topic(contract.stream, contract.version))
    return cast(_Store, store), topic_id


class _Past:
    """What a destination's accounts were, as far as retention has the events."""

    def __init__(
        self,
        log: RangeReader,
        settings: Settings,
        contract: Contract,
        route: Route,
        report: Callable[[int, int], None],
        total: int,
    ) -> None:
        """`report` is told how many of the `total` events have been read."""
        schema = bind(contract).schema
        self._log, self._to = log, route.to
        self._topic = clean_topic(contract.stream, contract.version)
        self._tail = RecentHistory(KafkaLog(settings.kafka), contract.stream)
        self._codec = CleanCodec(schema)
        self._wants = route.wants(schema)
        self._report, self._done, self._total = report, 0, total

    async def start(self, topic_id: str, now: Accounts, offset: int) -> Start:
        """The accounts and marks before the clean `offset`.

        Counted from the beginning or, where retention has taken that, back from what they are now.
        """
        partition, begin = now.partition, await self._log.begin(self._topic, now.partition)
        before, high_watermarks = await self._count(topic_id, partition, begin, max(begin, offset))
        if begin > 0:
            after, _ = await self._count(topic_id, partition, max(begin, offset), now.next_offset, high_watermarks)
            before = _minus(now, after)
        self._done += offset
        return Start(replace(before, next_offset=offset), high_watermarks)

    async def _count(
        self, topic_id: str, partition: int, first: int, end: int, high_watermarks: Mapping[str, int] | None = None
    ) -> tuple[Accounts, dict[str, int]]:
        """What clean offsets [first, end) add to the accounts, and the high watermarks after them."""
        refused = len(await self._tail.refused_offsets(self._to, partition, topic_id, first, end))
        seen = Duplicates(high_watermarks)
        repeats = unrouted = routed = 0
        async for records in self._log.records(self._topic, partition, first, end):
            fresh = seen.are_new(*clean.raw_identities(records))
            news = [record for record, new in zip(records, fresh, strict=True) if new]
            chosen = self._routed(news)
            repeats += len(records) - len(news)
            routed, unrouted = routed + chosen, unrouted + len(news) - chosen
            self._report(min(self._done + records[-1].offset + 1, self._total), self._total)
        return Accounts(partition, end, routed - refused, unrouted, repeats, refused), dict(seen.high_watermarks)

    def _routed(self, records: Sequence[Any]) -> int:
        if self._wants is None:
            return len(records)
        return sum(map(self._wants, self._codec.decode([record.value for record in records])))


def _minus(now: Accounts, after: Accounts) -> Accounts:
    names = ("delivered", "unrouted", "repeats", "refused")
    return replace(now, **{name: max(0, getattr(now, name) - getattr(after, name)) for name in names})
