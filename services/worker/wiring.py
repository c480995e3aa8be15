"""What each kind of job is made of: its contract, as published, its topic, its positions, its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial

from clearwell.arrow_memory import keep_pandas_out
from clearwell.contract.load import parse
from clearwell.contract.model import Contract
from clearwell.dead_letters.copier import DeadLetterCopier
from clearwell.dead_letters.verify import DeadTopicVerifier
from clearwell.errors import ConfigError
from clearwell.kafka import admin
from clearwell.kafka.lineage import way_out
from clearwell.kafka.log_client import KafkaLog
from clearwell.kafka.names import clean_topic, dead_topic, raw_topic
from clearwell.pipeline.compiler import compile
from clearwell.plugins.lakes import lake_root
from clearwell.plugins.open_destination import open_destination
from clearwell.privacy.open_keyring import open_keyring
from clearwell.registry import Registry, contracts
from clearwell.registry.jobs import JobKind, JobSpec
from clearwell.settings import Settings
from clearwell.steps import bind
from clearwell.worker.cleaner import open_cleaner
from clearwell.worker.connector_stop import ConnectorStop
from clearwell.worker.deliverer import open_deliverer
from clearwell.worker.destination_health import DestinationHealth
from clearwell.worker.destination_thread import DestinationThread
from clearwell.worker.gaps import Gaps
from clearwell.worker.job import GetProducer, Job
from clearwell.worker.job_meters import JobMeter
from clearwell.worker.job_run import MakeJob
from clearwell.worker.loss_notes import LossNotes
from clearwell.worker.positions import GroupPositions
from clearwell.worker.topic_identity import TopicIdentity

_Maker = Callable[[JobSpec, DestinationHealth, JobMeter, GetProducer], Awaitable[Job]]

_parse = lru_cache(maxsize=256)(parse)
"""A published text never changes, and is read again with each start of its jobs."""


class Wiring:
    """Makes the jobs of one process, which share its settings and its registry."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._client = KafkaLog(settings.kafka)

    def job(self, spec: JobSpec, health: DestinationHealth, meter: JobMeter) -> MakeJob:
        """How to make a job; `health` hears how its destination is, `meter` counts what it does.

        Making it raises ConfigError or ContractError when anything that it needs is missing or wrong (invariant 6),
        Retryable when a server is away.
        """
        makers: dict[JobKind, _Maker] = {
            JobKind.CLEANER: self._cleaner,
            JobKind.DEAD_LETTERS: self._copier,
            JobKind.DELIVERER: self._deliverer,
            JobKind.ARCHIVER: self._archiver,
        }
        return partial(makers[spec.kind], spec, health, meter)

    async def _cleaner(self, spec: JobSpec, _: DestinationHealth, meter: JobMeter, producer: GetProducer) -> Job:
        contract = await asyncio.to_thread(self._contract, spec)
        keyring = open_keyring(self._settings)
        pipeline = compile(contract, keyring)
        admin.require_topics(self._settings.kafka, spec.stream, spec.version)
        stop_connector = ConnectorStop(self._registry, spec.stream)
        note_loss = self._losses(raw_topic(spec.stream), spec.group)
        work = open_cleaner(self._client, pipeline, keyring, stop_connector, note_loss, producer, meter)
        return Job(self._client, spec.group, work.identity, work.positions, work, work.watch.close, work.watch, meter)

    async def _copier(self, spec: JobSpec, _: DestinationHealth, meter: JobMeter, producer: GetProducer) -> Job:
        topic = dead_topic(spec.stream)
        verifier = DeadTopicVerifier(spec.stream, open_keyring(self._settings))  # what does not open is none of ours
        identity = TopicIdentity.of(self._client, topic, way_out(spec.stream))
        gaps = Gaps(self._client, topic, spec.group, self._losses(topic, spec.group))
        copier = DeadLetterCopier(verifier, self._registry, identity, gaps)
        return Job(self._client, spec.group, identity, GroupPositions(identity), copier, copier.close, None, meter)

    async def _deliverer(self, spec: JobSpec, health: DestinationHealth, meter: JobMeter, producer: GetProducer) -> Job:
        contract = await asyncio.to_thread(self._contract, spec)
        route, topic = contract.route(spec.destination), clean_topic(spec.stream, spec.version)
        admin.require_topics(self._settings.kafka, spec.stream, spec.version)
        store = DestinationThread(
            open_destination(self._settings, route, bind(contract).schema, spec.group), health, meter
        )
        keep_pandas_out()
        note_loss, keyring = self._losses(topic, spec.group), open_keyring(self._settings)
        try:
            work = await open_deliverer(self._client, contract, route, keyring, store, note_loss, producer, health.lost)
        except BaseException:
            await asyncio.to_thread(store.close)
            raise
        return Job(self._client, spec.group, work.identity, work.positions, work, store.close, None, meter)

    async def _archiver(self, spec: JobSpec, _: DestinationHealth, meter: JobMeter, producer: GetProducer) -> Job:
        from clearwell.worker.archiver import open_archiver  # it loads Arrow, which no other kind of job needs

        contract = await asyncio.to_thread(self._contract, spec)
        if spec.destination not in [route.to for route in contract.archives]:
            raise ConfigError(f"{contract.location.file} has no route to {spec.destination}.")
        root = lake_root(self._settings, spec.destination.partition(".")[2] or None)
        note_loss, keyring = self._losses(raw_topic(spec.stream), spec.group), open_keyring(self._settings)
        work = await open_archiver(self._client, spec.stream, spec.group, root, keyring, note_loss)
        return Job(self._client, spec.group, work.identity, work.positions, work, work.close, None, meter)

    def _contract(self, spec: JobSpec) -> Contract:
        """The published one. Raises ConfigError where there is none, ContractError where this release can't read it."""
        with self._registry.session() as session:
            published = contracts.get(session, spec.stream, spec.version)
        return _parse(published.text, f"{published.name} (published)")

    def _losses(self, topic: str, group: str) -> LossNotes:
        return LossNotes(self._client, self._registry, topic, group)
