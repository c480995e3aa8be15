"""Opens everything one run of a connector needs, runs it, and closes everything again."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from clearwell.collector import watch
from clearwell.collector.pump import Pump
from clearwell.collector.rate_limit import Bucket
from clearwell.collector.watch import Watch
from clearwell.errors import ClearwellError, Fenced
from clearwell.kafka.admin import ensure_topics
from clearwell.kafka.names import raw_topic
from clearwell.kafka.producer import EventProducer
from clearwell.plugins.spec import open_source
from clearwell.privacy.open_keyring import open_keyring
from clearwell.records.source_events import RecordMaker
from clearwell.registry import Connector, Registry, connectors, positions
from clearwell.registry.positions import Counts
from clearwell.secret_references import hide
from clearwell.settings import Settings
from clearwell.source import Lag, Source, SourcePosition, stored_position
from services.collector.connector_meters import ConnectorMeter
from services.collector.contract import published_contract

log = logging.getLogger(__name__)


class Run:
    """One run of one connector, from its saved position on."""

    def __init__(
        self,
        connector: Connector,
        registry: Registry,
        settings: Settings,
        epoch: int,
        bucket: Bucket,
        meter: ConnectorMeter,
    ) -> None:
        """`epoch` is that of the lease under which it reads."""
        self.progressed = False
        self.watch = Watch()
        self._broken_off = False
        self._epoch = epoch
        self._bucket = bucket
        self._meter = meter
        self._pump: Pump | None = None
        self._producer: EventProducer | None = None
        self._connector = connector
        self._registry = registry
        self._where = settings
        self._version = 0
        self._secrets: list[str] = []

    def lag(self) -> Lag:
        """What is still to be read; nobody knows before reading begins."""
        return Lag() if self._pump is None else self._pump.lag()

    async def go(self, stop: asyncio.Event) -> bool:
        """Read until the source is exhausted (True) or `stop` is set (False). Raises ClearwellError, secrets hidden."""
        try:
            return await self._go(stop)
        except ClearwellError as error:
            raise type(error)(hide(str(error), self._secrets)) from None

    def break_off(self) -> None:
        """Whatever still goes on in this run, stuck as it may be, sends and saves nothing any more. Does not block."""
        self._broken_off = True
        if self._producer is not None:
            threading.Thread(target=self._producer.close, name=f"close {self._connector.name}", daemon=True).start()

    async def _go(self, stop: asyncio.Event) -> bool:
        with self.watch.waiting(watch.OPENING):
            source, maker = await asyncio.to_thread(self._open)
        try:
            with self.watch.waiting(watch.OPENING):
                after = stored_position(await asyncio.to_thread(self._load), source.Position)
                producer = self._producer = await asyncio.to_thread(self._connect)
            try:
                topic = raw_topic(self._connector.stream)
                log.info("connector %s: reading into %s", self._connector.name, topic)
                self._pump = Pump(source, maker, producer, topic, self._save, self._bucket, self.watch)
                return await self._pump.run(after, stop)
            finally:
                await asyncio.to_thread(producer.close)
        finally:
            await source.close()

    def _connect(self) -> EventProducer:
        return EventProducer(self._where.kafka, f"collector-{self._connector.name}")

    def _open(self) -> tuple[Source, RecordMaker]:
        connector, settings = self._connector, self._where
        contract = published_contract(self._registry, connector.stream)
        source, self._secrets = open_source(connector.source, connector.config)
        maker = RecordMaker(connector.name, contract, source.id_fields, lambda: open_keyring(settings))
        ensure_topics(settings.kafka, contract.stream, contract.version)
        return source, maker

    def _load(self) -> Mapping[str, Any] | None:
        with self._registry.session() as session:
            saved = positions.load(session, self._connector.name)
        self._version = saved.version
        return saved.position

    def _save(self, position: SourcePosition | None, counts: Counts) -> None:
        """Invariant 1: called only after Kafka acknowledged everything before `position`."""
        name, stored = self._connector.name, None if position is None else msgspec.to_builtins(position)
        if self._broken_off:
            raise Fenced(f"Connector {name} is read anew by now.")
        with self._registry.session() as session:
            self._version = positions.save(session, name, self._version, stored, counts, epoch=self._epoch)
            if not self.progressed:
                connectors.note_progress(session, name)
        self._meter.sent(counts)
        self.progressed = True
