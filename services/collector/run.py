"""Opens everything one run of a connector needs, runs it, and closes everything again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from clearwell.contract.load import find as find_contract
from clearwell.errors import ClearwellError
from clearwell.kafka.admin import ensure_topics
from clearwell.kafka.names import raw_topic
from clearwell.kafka.producer import EventProducer
from clearwell.privacy.keyring import Keyring
from clearwell.privacy.local import LocalKeyring
from clearwell.registry import Connector, Registry, connectors, positions
from clearwell.registry.references import hide
from clearwell.registry.spec import open_source
from clearwell.settings import Settings
from clearwell.source import Source, SourcePosition, stored_position
from services.collector.pump import Pump
from services.collector.records import RecordMaker

log = logging.getLogger(__name__)


class Run:
    """One run of one connector, from its saved position on."""

    def __init__(self, connector: Connector, registry: Registry, where: Settings) -> None:
        self.progressed = False
        self._connector = connector
        self._registry = registry
        self._where = where
        self._version = 0
        self._secrets: list[str] = []

    async def go(self, stop: asyncio.Event) -> bool:
        """Read until the source is exhausted (True) or `stop` is set (False). Raises ClearwellError, secrets hidden."""
        try:
            return await self._go(stop)
        except ClearwellError as error:
            raise type(error)(hide(str(error), self._secrets)) from None

    async def _go(self, stop: asyncio.Event) -> bool:
        name, stream = self._connector.name, self._connector.stream
        source, maker = await asyncio.to_thread(self._open)
        try:
            after = stored_position(await asyncio.to_thread(self._load), source.Position)
            producer = await asyncio.to_thread(EventProducer, self._where.kafka, f"collector-{name}")
            try:
                log.info("connector %s: reading into %s", name, raw_topic(stream))
                return await Pump(source, maker, producer, raw_topic(stream), self._save).run(after, stop)
            finally:
                await asyncio.to_thread(producer.close)
        finally:
            await source.close()

    def _open(self) -> tuple[Source, RecordMaker]:
        connector, where = self._connector, self._where
        contract = find_contract(where.schemas, connector.stream)
        source, self._secrets = open_source(connector.source, connector.config)
        maker = RecordMaker(connector.name, contract, source.id_fields, self._keyring)
        ensure_topics(where.kafka, contract.stream, contract.version)
        return source, maker

    def _keyring(self) -> Keyring:
        return LocalKeyring(self._where.keys)

    def _load(self) -> Mapping[str, Any] | None:
        with self._registry.session() as session:
            saved = positions.load(session, self._connector.name)
        self._version = saved.version
        return saved.position

    def _save(self, position: SourcePosition, events: int) -> None:
        """Invariant 1: called only after Kafka acknowledged everything before `position`."""
        with self._registry.session() as session:
            self._version = positions.save(
                session, self._connector.name, self._version, msgspec.to_builtins(position), events
            )
            if not self.progressed:
                connectors.note_progress(session, self._connector.name)
        self.progressed = True
