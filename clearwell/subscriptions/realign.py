"""Where a stream's logs have parted from what was read of them, and how each reader goes on from there.

Readers whose positions are in Kafka are set back here: cleaners, archives, the copier of dead letters, models. What a
cleaner reads from there on has a new origin (`lineage.branch_id`): its offsets had other events before, that are lost.
A destination goes back by `clearwell destination replay`, since its positions are in its store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import MemberToRemove
from kafka.errors import NoError
from kafka.structs import OffsetAndMetadata

from clearwell.contract.model import Contract
from clearwell.errors import ConfigError, Retryable
from clearwell.kafka import admin
from clearwell.kafka.groups import committed
from clearwell.kafka.lineage import Point, branch_id
from clearwell.kafka.log_client import KafkaLog, log_of
from clearwell.kafka.names import (
    archive_group,
    clean_topic,
    cleaner_group,
    dead_topic,
    letters_group,
    model_group,
    raw_topic,
)
from clearwell.kafka.range_reader import reader
from clearwell.records import clean
from clearwell.records.duplicates import Duplicates
from clearwell.registry import Registry, subscriptions
from clearwell.settings import Settings
from clearwell.subscriptions.position import Position, resume
from clearwell.worker.positions import CommitNote

PATIENCE = 60.0
"""Seconds in which Kafka must let a group of ours be set back."""


@dataclass(frozen=True, slots=True)
class PartedReader:
    """One reader in one partition: it had read up to `position`, and the log is another one from `parted` on."""

    group: str
    topic: str
    partition: int
    position: int
    parted: int
    goes_on: OffsetAndMetadata
    ours: bool
    """A service of ours, which starts again by itself; else a model, which a person stops and starts."""


def parted_readers(settings: Settings, contract: Contract) -> list[PartedReader]:
    """All readers of a stream that stand where the log is no longer the one they read; changes nothing. Blocks."""
    stream, version = contract.stream, contract.version
    services = [(cleaner_group(stream, version), raw_topic(stream), True)]
    services += [(archive_group(stream, route.to), raw_topic(stream), True) for route in contract.archives]
    services += [(letters_group(stream), dead_topic(stream), False)]
    found = [one for service in services for one in _service(settings.kafka, *service)]
    for name in _models(settings, contract):
        found += _model(settings.kafka, model_group(name), clean_topic(stream, version))
    return found


def realign(settings: Settings, readers: list[PartedReader]) -> None:
    """Set the readers back. Blocks. Raises ConfigError where a model is running, Retryable when Kafka won't do it."""
    for group in dict.fromkeys(one.group for one in readers):
        ones = [one for one in readers if one.group == group]
        _commit(
            settings.kafka, group, {TopicPartition(one.topic, one.partition): one.goes_on for one in ones}, ones[0].ours
        )


def _service(kafka: str, group: str, topic: str, branches: bool) -> Iterator[PartedReader]:
    now = admin.topic_now(kafka, topic)
    for partition, (offset, text) in sorted(committed(kafka, group, topic).items()):
        note = CommitNote.read(text)
        if note.topic_id != now:
            continue
        epoch = now.epochs[partition]
        end = log_of(KafkaLog(kafka), topic).parted_at(partition, Point(offset, note.epoch, note.time), epoch)
        if end is not None:
            origins = (*note.branches, (branch_id(now, epoch), end)) if branches else note.branches
            after = OffsetAndMetadata(end, str(replace(note, epoch=epoch, time=-1, branches=origins)), -1)
            yield PartedReader(group, topic, partition, offset, end, after, ours=True)


def _models(settings: Settings, contract: Contract) -> list[str]:
    registry = Registry(settings.postgres)
    try:
        with registry.session() as session:
            known = subscriptions.list_subscriptions(session)
    finally:
        registry.close()
    return [one.name for one in known if (one.stream, one.version) == (contract.stream, contract.version)]


def _model(kafka: str, group: str, topic: str) -> Iterator[PartedReader]:
    now = admin.topic_now(kafka, topic)
    for partition, (offset, text) in sorted(committed(kafka, group, topic).items()):
        position = resume(OffsetAndMetadata(offset, text, -1), now)
        epoch = now.epochs[partition]
        end = log_of(KafkaLog(kafka), topic).parted_at(
            partition, Point.of(position.offset, position.high_watermarks), epoch
        )
        if end is not None:
            high_watermarks = (
                asyncio.run(_high_watermarks(kafka, topic, partition, end)) | Point(end, epoch).high_watermarks
            )
            after = Position(str(now), end, high_watermarks).committed()
            yield PartedReader(group, topic, partition, offset, end, after, ours=False)


async def _high_watermarks(kafka: str, topic: str, partition: int, end: int) -> dict[str, int]:
    """What a reader has seen that has read a clean partition up to `end`."""
    seen = Duplicates()
    async with reader(kafka) as log:
        async for records in log.records(topic, partition, 0, end):
            seen.are_new(*clean.raw_identities(records))
    return dict(seen.high_watermarks)


def _commit(kafka: str, group: str, offsets: Mapping[TopicPartition, OffsetAndMetadata], ours: bool) -> None:
    """Kafka takes it for a group without members alone; one of ours that has ended may still be in its list."""

    def attempt(client: KafkaAdminClient) -> bool:
        if ours:
            members = client.describe_groups([group])[group]["members"]
            client.remove_group_members(
                group,
                [
                    MemberToRemove(group_instance_id=one["group_instance_id"], member_id=one["member_id"])
                    for one in members
                ],
            )
        return all(error is NoError for error in client.alter_group_offsets(group, offsets).values())

    until = time.monotonic() + PATIENCE
    while not admin.ask(kafka, f"setting {group} back", attempt):
        if not ours:
            raise ConfigError(f"{group} is running: stop the model, then run the command again.")
        if time.monotonic() > until:
            raise Retryable(
                f"{group} could not be set back, since its members come again too fast: stop it, or try again."
            )
        time.sleep(0.2)
