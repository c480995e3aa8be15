"""Where a stream's logs have parted from what was read of them, and how each reader goes on from there.

Readers whose positions are in Kafka are set back here: cleaners, archives, the copier of dead letters, models. What a
cleaner reads from there on has a new origin (`lineage.branch_id`): its offsets had other events before, that are lost.
A destination is set back by a replay, since its positions are in its store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from clearwell.contract.model import Contract
from clearwell.control.platform import Actor, Platform
from clearwell.control.published_contracts import published_contract
from clearwell.errors import ConfigError, Hint, Retryable
from clearwell.kafka import admin, groups
from clearwell.kafka.lineage import Point, branch_id
from clearwell.kafka.log_client import KafkaLog, LogClient, log_of
from clearwell.kafka.names import (
    archive_group,
    clean_topic,
    cleaner_group,
    dead_letters_group,
    dead_topic,
    model_group,
    raw_topic,
)
from clearwell.records.clean_reader import CleanReader
from clearwell.records.origins import Origins
from clearwell.registry import audit, subscriptions
from clearwell.registry.locks import lock
from clearwell.subscriptions.position import Position, resume
from clearwell.worker.positions import CommitNote

PATIENCE = 20.0
"""Seconds in which Kafka must let a group of a service be set back: less than a transaction may be idle."""


@dataclass(frozen=True, slots=True)
class PartedReader:
    """One reader in one partition: it has read up to `read`, and the log is another one from `goes_on` on.

    `note` is committed beside `goes_on`. `is_service`: it starts again by itself; else it is a model, which a person
    stops and starts.
    """

    group: str
    topic: str
    partition: int
    read: int
    goes_on: int
    note: str
    is_service: bool


@dataclass(frozen=True, slots=True)
class Realignment:
    """The readers of a stream that stand where the log is no longer the one they read."""

    stream: str
    readers: Sequence[PartedReader]


def plan_realignment(platform: Platform, stream: str, version: int | None = None) -> Realignment:
    """Look for parted readers of a stream; `version` of its contract: None is the highest. Blocks.

    Raises ConfigError when there is no such contract, Retryable when a server does not answer.
    """
    contract = published_contract(platform, stream, version)
    return Realignment(stream, list(_parted_readers(platform, contract)))


def realign(platform: Platform, actor: Actor, plan: Realignment) -> None:
    """Set the readers back, one group after the other, each with its audit. Blocks.

    Raises ConfigError where a model is running, or a reader is elsewhere than when this was planned, Retryable when
    Kafka won't do it; the groups before that one are set back then.
    """
    target = f"stream/{plan.stream}"
    for group, parted in groupby(plan.readers, lambda parted: parted.group):
        readers = list(parted)
        with platform.changing(actor) as session:
            lock(session, target)
            _require_unmoved(platform.settings.kafka, plan.stream, readers)
            _rewind(platform.settings.kafka, group, readers)
            audit.record(
                session, "realign", target, {f"{group}/{at.partition}": f"{at.read} to {at.goes_on}" for at in readers}
            )


def _parted_readers(platform: Platform, contract: Contract) -> Iterator[PartedReader]:
    stream, version, kafka = contract.stream, contract.version, platform.settings.kafka
    services = [(cleaner_group(stream, version), raw_topic(stream), True)]
    services += [(archive_group(stream, route.to), raw_topic(stream), True) for route in contract.archives]
    services += [(dead_letters_group(stream), dead_topic(stream), False)]
    for group, topic, branches in services:
        yield from _parted_service(kafka, group, topic, branches)
    with platform.looking() as session:
        known = subscriptions.list_subscriptions(session)
    for subscription in known:
        if (subscription.stream, subscription.version) == (stream, version):
            yield from _parted_model(kafka, model_group(subscription.name), contract)


def _parted_service(kafka: str, group: str, topic: str, branches: bool) -> Iterator[PartedReader]:
    now = admin.topic_now(kafka, topic)
    for partition, (offset, text) in sorted(groups.committed(kafka, group, topic).items()):
        note = CommitNote.read(text)
        if note.topic_id != now:
            continue
        epoch = now.epochs[partition]
        end = log_of(KafkaLog(kafka), topic).parted_at(partition, Point(offset, note.epoch, note.time), epoch)
        if end is not None:
            origins = (*note.branches, (branch_id(now, epoch), end)) if branches else note.branches
            after = str(replace(note, epoch=epoch, time=-1, branches=origins))
            yield PartedReader(group, topic, partition, offset, end, after, is_service=True)


def _parted_model(kafka: str, group: str, contract: Contract) -> Iterator[PartedReader]:
    topic, client = clean_topic(contract.stream, contract.version), KafkaLog(kafka)
    origins = Origins(partial(client.id_and_ends, raw_topic(contract.stream)))
    now = client.topic_now(topic)
    for partition, (offset, text) in sorted(groups.committed(kafka, group, topic).items()):
        position = resume((offset, text), now)
        epoch = now.epochs[partition]
        point = Point.of(position.offset, position.high_watermarks)
        end = log_of(client, topic).parted_at(partition, point, epoch)
        if end is not None:
            seen = asyncio.run(_high_watermarks(client, origins, topic, partition, end))
            _, note = Position(str(now), end, seen | Point(end, epoch).high_watermarks).stored()
            yield PartedReader(group, topic, partition, offset, end, note, is_service=False)


async def _high_watermarks(client: LogClient, origins: Origins, topic: str, partition: int, end: int) -> dict[str, int]:
    """What a reader has seen that has read a clean partition up to `end`."""
    clean = CleanReader(partition, origins)
    async with client.reader() as log:
        async for records in log.records(topic, partition, 0, end):
            clean.take(records)
    return dict(clean.high_watermarks)


def _require_unmoved(kafka: str, stream: str, readers: Sequence[PartedReader]) -> None:
    now = groups.committed(kafka, readers[0].group, readers[0].topic)
    for parted in readers:
        offset, _ = now.get(parted.partition, (0, ""))
        if offset != parted.read:
            raise ConfigError(
                f"{parted.group} has moved in partition {parted.partition} since this was planned: it was at "
                f"{parted.read}, and is at {offset}. Plan again.",
                code="plan_is_old",
                hint=Hint("streams.realign", stream),
            )


def _rewind(kafka: str, group: str, readers: Sequence[PartedReader]) -> None:
    """Kafka takes it for a group without members alone; a service that has ended may still be in its list."""
    offsets = {parted.partition: (parted.goes_on, parted.note) for parted in readers}
    until = time.monotonic() + PATIENCE
    while True:
        if readers[0].is_service:
            groups.remove_members(kafka, group)
        if groups.commit(kafka, group, readers[0].topic, offsets):
            return
        if not readers[0].is_service:
            raise ConfigError(f"{group} is running: stop the model first.", code="subscription_in_use")
        if time.monotonic() > until:
            raise Retryable(
                f"{group} could not be set back, since its members come again too fast: stop it, or try again."
            )
        time.sleep(0.2)
