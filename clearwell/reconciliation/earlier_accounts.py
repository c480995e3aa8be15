"""What a destination's accounts were when its position was an earlier one, so that a replay's balance adds up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from clearwell.contract.model import Contract, Route
from clearwell.destinations.protocol import Accounts, Start
from clearwell.kafka.log_client import LogClient, RangeReader
from clearwell.kafka.names import clean_topic, raw_topic
from clearwell.pipeline.clean import CleanCodec
from clearwell.records.clean_reader import CleanReader
from clearwell.records.duplicates import Duplicates
from clearwell.records.origins import Origins
from clearwell.records.recent_history import RecentHistory
from clearwell.steps import bind


class PastAccounts:
    """Counts them from the log of clean events, as far as retention has these."""

    def __init__(
        self,
        client: LogClient,
        log: RangeReader,
        contract: Contract,
        route: Route,
        report: Callable[[int, int], None],
        total: int,
    ) -> None:
        """`log` is a reader of `client`'s; `report` is told how many of the `total` events have been read."""
        schema = bind(contract).schema
        self._log, self._to = log, route.to
        self._topic = clean_topic(contract.stream, contract.version)
        self._history = RecentHistory(client, contract.stream)
        self._origins = Origins(partial(client.id_and_ends, raw_topic(contract.stream)))
        self._codec = CleanCodec(schema)
        self._wants = route.wants(schema)
        self._report, self._done, self._total = report, 0, total

    async def start(self, topic_id: str, now: Accounts, offset: int) -> Start:
        """The accounts and high watermarks before the clean `offset`.

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
        refused = len(await self._history.refused_offsets(self._to, partition, topic_id, first, end))
        clean = CleanReader(partition, self._origins, Duplicates(high_watermarks))
        repeats = unrouted = routed = 0
        async for records in self._log.records(self._topic, partition, first, end):
            new = clean.take(records).records
            routed_now = self._count_routed(new)
            repeats += len(records) - len(new)
            routed, unrouted = routed + routed_now, unrouted + len(new) - routed_now
            self._report(min(self._done + records[-1].offset + 1, self._total), self._total)
        return Accounts(partition, end, routed - refused, unrouted, repeats, refused), dict(clean.high_watermarks)

    def _count_routed(self, records: Sequence[Any]) -> int:
        if self._wants is None:
            return len(records)
        return sum(map(self._wants, self._codec.decode([record.value for record in records])))


def _minus(now: Accounts, after: Accounts) -> Accounts:
    names = ("delivered", "unrouted", "repeats", "refused")
    return replace(now, **{name: max(0, getattr(now, name) - getattr(after, name)) for name in names})
