"""One run of one connector that is sent its events: opened, offered to the listener, and its batches sent to Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from typing import Any, cast

from clearwell.collector import watch
from clearwell.collector.rate_limit import Bucket
from clearwell.collector.watch import Watch
from clearwell.errors import ClearwellError
from clearwell.kafka.admin import ensure_topics
from clearwell.kafka.names import raw_topic
from clearwell.kafka.producer import EventProducer
from clearwell.plugins.spec import open_source
from clearwell.privacy.open_keyring import open_keyring
from clearwell.records.source_events import RecordMaker, refusals
from clearwell.registry import Connector, Registry, connectors, positions
from clearwell.registry.positions import NOTHING, Counts
from clearwell.secret_references import hide
from clearwell.settings import Settings
from clearwell.source import Lag, PushSource, Request, RequestRefused, SourceEvent
from services.collector.connector_meters import ConnectorMeter
from services.collector.contract import published_contract
from services.collector.group_commit import GroupCommit
from services.collector.readers import Readers

log = logging.getLogger(__name__)

COUNT_SECONDS = 1.0
"""How often the number of events is saved; what a killed collector had not saved yet is missing in that number."""

DRAIN_SECONDS = 3.0


class PushRun:
    """Takes requests while it is among `endpoints`; every collector runs every such connector, without a lease."""

    def __init__(
        self,
        connector: Connector,
        registry: Registry,
        settings: Settings,
        bucket: Bucket,
        endpoints: dict[str, PushRun],
        meter: ConnectorMeter,
    ) -> None:
        """`endpoints`: where the listener looks up who takes requests, by connector."""
        self.progressed = False
        self.watch = Watch()
        self._connector = connector
        self._registry = registry
        self._where = settings
        self._bucket = bucket
        self._meter = meter
        self._endpoints = endpoints
        self._secrets: list[str] = []
        self._source: PushSource | None = None
        self._maker: RecordMaker | None = None
        self._producer: EventProducer | None = None
        self._group_commit = GroupCommit(self._send)
        self._readers = Readers(connector.name)
        self._sent, self._counted = NOTHING, NOTHING  # each is written by one thread alone
        self._broken_off = False

    def lag(self) -> Lag:
        """Nobody knows what is still to be sent."""
        return Lag()

    async def receive(self, request: Request) -> Sequence[SourceEvent]:
        """The events of a request. Raises RequestRefused, also for one that comes too soon by the rate limit.

        All but small bodies are read in threads of this connector's own: those of others, and the event loop, go on.
        """
        assert self._source is not None
        if pause := self._bucket.wait():
            raise RequestRefused(429, "Too many events: come again later.", pause)
        events = await self._readers.events(self._source, request)
        self._bucket.take(len(events))
        return events

    def offer(self, events: Sequence[SourceEvent]) -> asyncio.Future[None]:
        """As `GroupCommit.offer`."""
        return self._group_commit.offer(events)

    async def go(self, stop: asyncio.Event) -> bool:
        """Take requests until `stop` is set (False). Raises ClearwellError, secrets hidden."""
        try:
            with self.watch.waiting(watch.OPENING):
                await asyncio.to_thread(self._open)
            log.info("connector %s: taking requests into %s", self._connector.name, raw_topic(self._connector.stream))
            await self._serve(stop)
        except ClearwellError as error:
            raise type(error)(hide(str(error), self._secrets)) from None
        finally:
            await self._close()
        return False

    def break_off(self) -> None:
        """Send nothing any more. Does not block."""
        self._broken_off = True
        self._leave()
        if self._producer is not None:
            threading.Thread(target=self._producer.close, name=f"close {self._connector.name}", daemon=True).start()

    async def _serve(self, stop: asyncio.Event) -> None:
        sending = asyncio.create_task(self._group_commit.run())
        stopping = asyncio.create_task(stop.wait())
        counting = asyncio.create_task(self._count_on())
        tasks = {sending, stopping, counting}
        self._endpoints[self._connector.name] = self
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._leave()
            if not sending.done():
                await self._group_commit.drain(DRAIN_SECONDS)
        finally:
            self._leave()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._group_commit.give_up()
        for task in (sending, counting):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    def _leave(self) -> None:
        if self._endpoints.get(self._connector.name) is self:
            del self._endpoints[self._connector.name]

    def _open(self) -> None:
        connector, settings = self._connector, self._where
        contract = published_contract(self._registry, connector.stream)
        source, self._secrets = open_source(connector.source, connector.config)
        self._source = cast(PushSource, cast(Any, source))
        self._maker = RecordMaker(connector.name, contract, source.id_fields, lambda: open_keyring(settings))
        ensure_topics(settings.kafka, contract.stream, contract.version)
        self._producer = EventProducer(settings.kafka, f"collector-{connector.name}")
        with contextlib.suppress(ClearwellError), self._registry.session() as session:
            connectors.note_progress(session, connector.name)  # it takes requests: what went wrong before is over

    def _send(self, events: Sequence[SourceEvent]) -> None:
        assert self._maker is not None and self._producer is not None
        with self.watch.waiting(watch.KAFKA):
            self._producer.send_batch(raw_topic(self._connector.stream), self._maker.make(events))
        counts = Counts(len(events), refusals(events), len(events))
        self._sent += counts
        self._meter.sent(counts)
        self.progressed = True

    async def _count_on(self) -> None:
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            await asyncio.to_thread(self._count)

    def _count(self) -> None:
        """It is a number for people; the events are in Kafka, whether Postgres is there or not."""
        sent = self._sent
        if sent != self._counted:
            with contextlib.suppress(ClearwellError), self._registry.session() as session:
                positions.count(session, self._connector.name, sent - self._counted)
                self._counted = sent

    async def _close(self) -> None:
        if self._producer is not None:
            await asyncio.to_thread(self._producer.close)
        await asyncio.to_thread(self._count)
        self._readers.close()
        if self._source is not None:
            await self._source.close()
