"""How each kind of topic is kept, decided on purpose. Sizes in bytes, times in days.

All are kept by time (`delete`), none is compacted: clean holds the history that subscriptions, new destinations and
backfills read, and the accounts (invariant 5) and the identity of an event (invariant 3) need every offset of it;
compaction would keep the last event of a key alone. Time stamps are the broker's (`LogAppendTime`): they grow with
the offset, so that a time range is an offset range,
and no sender's clock can delete records early or keep them for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from clearwell.kafka import names
from clearwell.source import EVENT_LIMIT

RAW_LIMIT = 2 * EVENT_LIMIT
"""A raw batch holds one largest event with key and headers, or several small ones; producers cap batches below it."""

OUT_LIMIT = 8 * EVENT_LIMIT + 65_536
"""Clean and dead records outgrow their raw event: sealing and encryption add a third, derived fields repeat text."""

PARTITIONS = 4
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """One topic as it shall be."""

    name: str
    days: int
    max_message_bytes: int

    def settings(self, replication: int | None) -> dict[str, str]:
        """Kafka's topic settings. Acknowledged means: on two brokers, where there are three copies or more.

        Where the cluster's default replication is taken (None), its default `min.insync.replicas` is taken too.
        """
        acknowledged = {} if replication is None else {"min.insync.replicas": "2" if replication >= 3 else "1"}
        return acknowledged | {
            "cleanup.policy": "delete",
            "retention.ms": str(self.days * _DAY_MS),
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime",
            "compression.type": "producer",
        }


def plans(stream: str, version: int) -> list[TopicPlan]:
    """The four topics of a stream's version; raw first, since it decides the number of partitions.

    raw: a week to mend and replay. clean: 30 days of history in Kafka. dropped: as clean, to account for it.
    dead: 90 days to look at, fix and replay.
    """
    return [
        TopicPlan(names.raw_topic(stream), 7, RAW_LIMIT),
        TopicPlan(names.clean_topic(stream, version), 30, OUT_LIMIT),
        TopicPlan(names.dead_topic(stream), 90, OUT_LIMIT),
        TopicPlan(names.dropped_topic(stream), 30, OUT_LIMIT),
    ]


def differences(plan: TopicPlan, settings: Mapping[str, str]) -> list[str]:
    """What in a topic's settings would lose or refuse events, as sentences; longer retention and the like are fine."""
    wrong = []
    if "compact" in settings.get("cleanup.policy", ""):
        wrong.append("it is compacted, which removes events: set cleanup.policy=delete")
    if int(settings.get("max.message.bytes", plan.max_message_bytes)) < plan.max_message_bytes:
        wrong.append(f"it takes too small records: set max.message.bytes={plan.max_message_bytes} or more")
    if has_senders_times(settings):
        wrong.append(
            "its time stamps are those of the senders, by which events may be deleted early and ranges of time miss "
            "some: set message.timestamp.type=LogAppendTime"
        )
    return wrong


def has_senders_times(settings: Mapping[str, str]) -> bool:
    """Whether time stamps are what a sender says (`CreateTime`, Kafka's default), and so may go back and forth."""
    return settings.get("message.timestamp.type", "LogAppendTime") != "LogAppendTime"
