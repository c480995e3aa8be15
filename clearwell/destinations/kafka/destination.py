"""A topic of another Kafka cluster: clean events as CloudEvents, each with an id that stays the same.

The other cluster can't be asked what it has, so positions are kept in the platform's Postgres, after its answer: at
least once. After a crash the events of the last batch are sent again, under the same ids; the producer is idempotent,
so that its own retries repeat nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

import msgspec
from msgspec import Meta

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.cloud_event import JSON, attributes_of, id_of
from clearwell.destinations.kafka.cluster import DestinationCluster, OutgoingRecord, security_of
from clearwell.destinations.kafka.options import KafkaTopicOptions
from clearwell.destinations.newest import key_of
from clearwell.destinations.platform_positions import PlatformPositions
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, DestinationConfig, DestinationContext, Start
from clearwell.destinations.shape import IDENTITY, check_schema
from clearwell.kafka import names
from clearwell.kafka.security import MechanismOption, SecurityOption
from clearwell.source import Password, PemFile, Username


class KafkaTopicConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which cluster, and how to reach it.

    A record's key is the contract's key: its value as text, or a JSON array where it has several fields. What has
    one key stays in one partition, in order. Headers are a CloudEvent's in Kafka's binary mode, with
    `clearwell_topic` and `clearwell_offset`, where the event is in raw; the value is the clean event. `ce_id` stays
    the same when an event is sent again: drop what you have (Clearwell's own source `kafka` does, with `id_header:
    ce_id` and a step `deduplicate`). An event that is larger than the topic takes becomes a dead letter.
    """

    bootstrap: Annotated[str, Meta(description='"host:port[,host:port]".')]
    security: SecurityOption = "plaintext"
    ca: PemFile | None = None
    mechanism: MechanismOption = "SCRAM-SHA-512"
    username: Username = None
    password: Password = None

    def __repr__(self) -> str:  # invariant 10
        return f"KafkaTopicConfig(bootstrap={self.bootstrap!r})"


class KafkaTopicDestination:
    """One topic; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "kafka"
    Config: ClassVar[type[DestinationConfig]] = KafkaTopicConfig
    Options: ClassVar[type[RouteOptions]] = KafkaTopicOptions
    keeps_history: ClassVar[bool] = False
    registered: ClassVar[bool] = True
    redelivers: ClassVar[bool] = True

    def __init__(self, config: KafkaTopicConfig, schema: CleanSchema, topic: str, positions: str, group: str) -> None:
        """`positions` is the URL of the platform's Postgres. Raises ConfigError when a part of `config` can't be."""
        check_schema(schema, IDENTITY)
        security = security_of(config.security, config.ca, config.mechanism, config.username, config.password)
        self._cluster = DestinationCluster(config.bootstrap, topic, security, f"clearwell-{group}")
        self._positions = PlatformPositions(positions, group)
        self._key = key_of(schema)
        self._constant = [
            *((f"ce_{name}", value.encode()) for name, value in attributes_of(schema).items()),
            (names.CONTENT_TYPE, JSON.encode()),
        ]

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """A registered cluster."""
        schema = context.schema
        topic = context.options.topic or names.clean_topic(schema.stream, schema.version)
        return cls(context.config, schema, topic, context.settings.postgres, context.group)

    def open(self) -> None:
        """Look for the topic, and make the table of positions."""
        self._cluster.require_topic()
        self._positions.create()

    def reach(self) -> None:
        """Connect to the cluster, whatever its topics are."""
        self._cluster.reach()

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """Goes on from the last batch that was noted."""
        return self._positions.claim(topic_id, partition, generation)

    def write(self, batch: CleanBatch) -> None:
        """Send, then move the position."""
        if self._positions.is_written(batch):
            return
        if batch.rows:
            self._cluster.send([self._record(batch, index) for index in range(len(batch.rows))], batch.coordinates())
        self._positions.advance(batch)

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever delivered."""
        return self._positions.accounts(topic_id)

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """The topic gets the events again, under the same ids."""
        self._positions.rewind(topic_id, starts)

    def row_count(self) -> None:
        """Only the readers of the topic know."""

    def close(self) -> None:
        """Let go of both servers."""
        self._cluster.close()
        self._positions.close()

    def _record(self, batch: CleanBatch, index: int) -> OutgoingRecord:
        varying = [
            (names.CE_ID, id_of(batch, index).encode()),
            (names.RAW_TOPIC_ID, batch.raw_topics[index].encode()),
            (names.RAW_OFFSET, b"%d" % batch.raw_offsets[index]),
        ]
        key = _key_bytes(self._key(batch.rows[index]))
        return OutgoingRecord(key, batch.values[index], [*self._constant, *varying])


def _key_bytes(key: Any) -> bytes | None:
    """As `KafkaTopicConfig` tells."""
    if key is None or isinstance(key, bytes):
        return key
    return key.encode() if isinstance(key, str) else msgspec.json.encode(key)
