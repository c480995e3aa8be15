"""One member of a consumer group that shares a topic: kafka-python's consumer, as far as a subscription needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from kafka import KafkaConsumer, TopicPartition, errors
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.structs import OffsetAndMetadata

from clearwell.kafka.clients import connect
from clearwell.kafka.consumer_options import READ_COMMITTED
from clearwell.kafka.failures import translated
from clearwell.kafka.shares_assignor import SharesAssignor

REBALANCE_MS = 60_000
"""How long the group waits for a member that does not answer; and how long one whose model is done stays unasked."""
COMMIT_MS = 30_000
ANSWER_MS = 1_000
LEAVE_MS = 1_000

_ENDED = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
)
"""How Kafka refuses one who is not, or no longer, a member of the present generation."""


class GenerationEnded(Exception):
    """The group has changed hands meanwhile; what was asked was not done. It may be asked again in the next one."""


class MemberReplaced(Exception):
    """Another process has joined under the name of this one."""


class GroupConsumer(Protocol):
    """Raises ClearwellError, and GenerationEnded and MemberReplaced where it says so."""

    @property
    def generation(self) -> int:
        """Of the group, as this member knows it; -1 while it is no member."""

    def assignment(self) -> list[int]:
        """The partitions that are ours, sorted."""

    def poll(self, timeout_ms: int) -> Mapping[int, Sequence[Any]]:
        """Join the group where that is due; records by partition, waited for so long at most."""

    def committed(self, partition: int) -> tuple[int, str] | None:
        """The offset that the group has committed, and the text beside it."""

    def seek(self, partition: int, offset: int) -> None:
        """Read on from there."""

    def commit(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        """Store for the group, by partition. Raises GenerationEnded, MemberReplaced."""

    def stay(self) -> None:
        """Answer the group without fetching anything."""

    def join_next_generation(self) -> None:
        """Where the group is about to change hands. Raises GenerationEnded, MemberReplaced."""

    def rejoin(self) -> None:
        """Have the partitions shared out anew, if this member is the group's leader."""

    def close(self) -> None:
        """Leave the group; one that has a name for its process keeps its partitions, until it is back."""


class KafkaGroupConsumer:
    """See `GroupConsumer`."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topic: str,
        claims: Callable[[], Sequence[int]],
        *,
        instance: str | None,
        max_records: int,
    ) -> None:
        """Connects; joins at the first `poll`. `claims` are the partitions that it would keep, the dearest first.

        `instance` names this process within the group (static membership). Raises Retryable when Kafka is away.
        """
        self._bootstrap = bootstrap
        self._group = group
        self._topic = topic
        with translated(bootstrap, f"joining {group}"):
            self._consumer = connect(
                KafkaConsumer,
                bootstrap,
                client_id=f"clearwell.{group}",
                group_id=group,
                group_instance_id=instance,
                enable_auto_commit=False,
                isolation_level=READ_COMMITTED,
                auto_offset_reset="earliest",  # never relied upon: each partition is sought to its position
                # The second is for a group with members of an earlier Clearwell.
                partition_assignment_strategy=(SharesAssignor(claims), RangePartitionAssignor),
                max_poll_records=max_records,
                max_poll_interval_ms=REBALANCE_MS,
                max_partition_fetch_bytes=4_194_304,
                session_timeout_ms=10_000,
                heartbeat_interval_ms=2_000,
                metrics_enabled=False,
            )
            self._consumer.subscribe([topic])
            self._consumer.partitions_for_topic(topic)  # known before joining: a leader assigns only what it knows

    @property
    def generation(self) -> int:
        return int(self._consumer.group_metadata().generation_id)

    def assignment(self) -> list[int]:
        return sorted(topic_partition.partition for topic_partition in self._consumer.assignment())

    def poll(self, timeout_ms: int) -> dict[int, Sequence[Any]]:
        with translated(self._bootstrap, f"reading {self._topic}"):
            fetched = self._consumer.poll(timeout_ms=timeout_ms)
        return {topic_partition.partition: records for topic_partition, records in fetched.items()}

    def committed(self, partition: int) -> tuple[int, str] | None:
        with translated(self._bootstrap, f"finding where {self._group} stands"):
            known = self._consumer.committed(self._place(partition), metadata=True, timeout_ms=COMMIT_MS)
        return None if known is None or known.offset < 0 else (known.offset, known.metadata or "")

    def seek(self, partition: int, offset: int) -> None:
        self._consumer.seek(self._place(partition), offset)

    def commit(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        with self._as_member():
            stored = {self._place(at): OffsetAndMetadata(*known, -1) for at, known in offsets.items()}
            self._consumer.commit(stored, timeout_ms=COMMIT_MS)

    def stay(self) -> None:
        with translated(self._bootstrap, f"staying in {self._group}"):
            coordinator = self._consumer._coordinator  # the part of `poll` that fetches nothing has no public name
            try:
                coordinator.poll(timeout_ms=ANSWER_MS)
            except errors.KafkaError:  # its heartbeats have ended; this starts them again
                coordinator.ensure_active_group(timeout_ms=ANSWER_MS)

    def join_next_generation(self) -> None:
        with self._as_member():
            if self._consumer._coordinator.need_rejoin():
                self._consumer._coordinator.poll(timeout_ms=ANSWER_MS)

    def rejoin(self) -> None:
        self._consumer._coordinator.request_rejoin()  # kafka-python has no public way (Java: enforceRebalance)

    def close(self) -> None:
        self._consumer.close(timeout_ms=LEAVE_MS)

    def _place(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    @contextmanager
    def _as_member(self) -> Iterator[None]:
        with translated(self._bootstrap, f"committing for {self._group}"):
            try:
                yield
            except errors.FencedInstanceIdError as error:
                raise MemberReplaced from error
            except _ENDED as error:
                raise GenerationEnded from error
