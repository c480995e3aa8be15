"""Which incarnation of a topic a record came from (KIP-516): a recreated topic is a new identity (invariant 3).

aiokafka's fetch names topics, not ids, so a topic deleted and made again under a running consumer would be read on as
if nothing had happened. Ids never come back: if the id asked *after* a fetch is still the one known, the fetched
records belong to it. So each batch is confirmed after it was fetched and before anything is made of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Self

from clearwell.backoff import retry_until_available_async
from clearwell.errors import Fatal
from clearwell.kafka.admin import TopicNow
from clearwell.kafka.lineage import Lineage, Point
from clearwell.kafka.log_client import LogClient, log_of
from clearwell.kafka.shared_question import SharedQuestion


class TopicIdentity:
    """The id of one topic; many batches that wait at once share one question to the broker."""

    def __init__(self, topic: str, ask: Callable[[], str], lineage: Lineage | None = None) -> None:
        """`ask` fetches the topic's id now (with a `lineage`: `admin.topic_now`); it blocks, is called in a thread, and
        raises ClearwellError.
        """
        self.topic = topic
        self.lineage = lineage
        self.id = ""
        self._ask = ask
        self._question = SharedQuestion(lambda: retry_until_available_async(self._look))

    @classmethod
    def of(cls, client: LogClient, topic: str, way: str | Callable[[int, int], str]) -> Self:
        """With a lineage; `way` says what to do where the log has parted (see `Lineage`)."""
        return cls(topic, lambda: client.topic_now(topic), Lineage(log_of(client, topic), way))

    async def refresh(self) -> str:
        """Learn the id as it is now; to be called when partitions are assigned."""
        if self.lineage is not None:
            self.lineage.begin({})
        self.id = str(await self._question.ask())  # without the epochs: a plain text for whatever encodes it
        return self.id

    async def resume(self, points: Mapping[int, Point]) -> None:
        """The partitions begin at these points of the topic that `refresh` found. Raises Parted (see `lineage.py`)."""
        if self.lineage is not None:
            self.lineage.begin(points)
            await self._question.ask()

    async def confirm(self) -> str:
        """The known id, proven to be still the topic's. Raises Fatal when the topic was recreated or its log parted."""
        if await self._question.ask() != self.id:
            raise Fatal(f"Topic {self.topic} was deleted and made again; starting over under its new identity.")
        return self.id

    async def _look(self) -> str:
        now = await asyncio.to_thread(self._ask)
        if self.lineage is not None and isinstance(now, TopicNow) and now == self.id:
            await self._trace(self.lineage, now)
        return now

    @staticmethod
    async def _trace(lineage: Lineage, now: TopicNow) -> None:
        """Positions are checked where a leader epoch has changed since (KIP-320)."""
        points = lineage.changed(now.epochs)
        if points:
            await asyncio.to_thread(lineage.check, points, now.epochs)
            lineage.adopt(points, now.epochs)
