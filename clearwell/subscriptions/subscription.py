"""A model's own consumer group on a clean topic: every event once, resumed where the model committed."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition, errors
from kafka.coordinator.assignors.range import RangePartitionAssignor

from clearwell.backoff import delays
from clearwell.contract.model import CleanSchema, Field
from clearwell.errors import ConfigError, Retryable, nearest
from clearwell.kafka import admin, clean
from clearwell.kafka.asking import READ_COMMITTED
from clearwell.kafka.clients import connect
from clearwell.kafka.failures import translated
from clearwell.kafka.names import clean_topic, model_group, raw_topic
from clearwell.kafka.origins import Origins, ask_raw, warn_of_forged
from clearwell.kafka.repeats import Repeats
from clearwell.pipeline.clean import CleanCodec
from clearwell.subscriptions.batch import Batch
from clearwell.subscriptions.coverage import Coverage
from clearwell.subscriptions.position import Position, resume

log = logging.getLogger(__name__)

POLL_MS = 500
COMMIT_MS = 30_000
LOST = (
    errors.CommitFailedError,
    errors.RebalanceInProgressError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.FencedInstanceIdError,
)


class PartitionLost(Retryable):
    """The partition was taken from this member before it committed; what it did not commit is delivered again."""


@dataclass(slots=True)
class _Lane:
    """One assigned partition: the clean offset expected next, the highest one committed, and what was seen."""

    next: int
    committed: int
    repeats: Repeats


class Subscription:
    """Iterate over it for batches. One thread uses one subscription; close it, or use it in a `with` block.

    At least once to the model until `batch.commit()`: after a crash the group goes on at the last committed batch of
    each partition, with no gap and without any committed event. Members of the same name share the partitions.
    """

    def __init__(
        self,
        name: str,
        bootstrap: str,
        codec: CleanCodec,
        *,
        fields: Sequence[str] = (),
        max_rows: int = 5_000,
        idle: float | None = None,
        member: str | None = None,
    ) -> None:
        """Joins the group `model.<name>`; no `fields` means all. Iteration ends after `idle` seconds without events.

        `member` names this process within the group (Kafka's static membership): after a crash it takes its partitions
        back at once, not when its session has timed out; but they also wait for it when it is closed.
        Raises Retryable when Kafka does not answer or the clean topic is not there, ConfigError for an unknown field.
        """
        schema = codec.schema
        self.name = name
        self.topic = clean_topic(schema.stream, schema.version)
        self._bootstrap = bootstrap
        self._codec = codec
        self._member = member
        self._chosen = chosen_fields(schema, fields)
        self._order = [schema.fields.index(one) for one in self._chosen]
        self._max_rows = max_rows
        self._idle = idle
        self._ready: deque[Batch] = deque()
        self._lanes: dict[int, _Lane] = {}
        self._generation = -1
        self._epoch = 0
        self._coverage = Coverage(bootstrap, model_group(name), self.topic)
        self._topic_id = admin.topic_id(bootstrap, self.topic)
        self._origins = Origins(partial(ask_raw, bootstrap, raw_topic(codec.schema.stream)))
        self._consumer = self._join()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """The next batch; waits for one, at most `idle` seconds. Raises StopIteration, Fatal for a foreign record."""
        waited_since = time.monotonic()
        while not self._ready:
            if self._consumer is None:
                raise StopIteration
            self._fetch()
            if not self._coverage.complete:
                waited_since = time.monotonic()  # joining the group is not idling
            elif not self._ready and self._idle is not None and time.monotonic() - waited_since >= self._idle:
                raise StopIteration
        return self._ready.popleft()

    def close(self) -> None:
        """Leave the group, so that others take the partitions over at once; batches not committed come again."""
        consumer, self._consumer = self._consumer, None
        self._ready.clear()
        self._epoch += 1
        if consumer is not None:
            consumer.close(timeout_ms=5_000)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        """A loop left by `break` must not keep its partitions from the next one."""
        if getattr(self, "_consumer", None) is not None:
            self.close()

    def _join(self) -> Any:
        with translated(self._bootstrap, f"joining {model_group(self.name)}"):
            consumer = connect(
                KafkaConsumer,
                self._bootstrap,
                client_id=f"clearwell.{self.name}",
                group_id=model_group(self.name),
                group_instance_id=self._member,
                enable_auto_commit=False,
                isolation_level=READ_COMMITTED,
                auto_offset_reset="earliest",  # never relied upon: each partition is sought to its position
                partition_assignment_strategy=(RangePartitionAssignor,),
                max_poll_records=self._max_rows,
                max_partition_fetch_bytes=4_194_304,
                session_timeout_ms=10_000,
                heartbeat_interval_ms=2_000,
                metrics_enabled=False,
            )
            consumer.subscribe([self.topic])
            consumer.partitions_for_topic(self.topic)  # known before joining: a leader assigns only what it knows
            return consumer

    def _fetch(self) -> None:
        """One poll. The group changes hands only in here, while no batch of ours is waiting."""
        with translated(self._bootstrap, f"reading {self.topic}"):
            fetched = self._consumer.poll(timeout_ms=POLL_MS)
            generation = self._consumer.group_metadata().generation_id
            assigned = {place.partition for place in self._consumer.assignment()}
        # A poll may end between the new generation and its partitions, so both are looked at.
        if generation != self._generation or assigned != self._lanes.keys():
            self._generation = generation
            self._take_over()
        elif self._same_topic(insist=bool(fetched)):
            for place, records in fetched.items():
                self._take(place.partition, records)
        self._look_at_group()

    def _look_at_group(self) -> None:
        """Join again where a partition is held by no one: the group's leader, if that is us, then assigns anew.

        Only static members and those that hold nothing look; for the others' shares the leader has just assigned.
        """
        if self._generation < 0:
            return
        if self._member is None and self._lanes:
            self._coverage.assume()
        elif self._coverage.lacks():
            self._consumer._coordinator.request_rejoin()  # kafka-python has no public way (Java: enforceRebalance)

    def _take_over(self) -> None:
        """A new assignment: every partition goes on where the group has committed; older batches are void."""
        self._epoch += 1
        self._lanes = {}
        self._coverage.forget()
        places = sorted(self._consumer.assignment())
        if self._generation < 0 or not places:
            return
        with translated(self._bootstrap, f"finding where {model_group(self.name)} stands"):
            begins = self._consumer.beginning_offsets(places)
            for place in places:
                known = self._consumer.committed(place, metadata=True, timeout_ms=COMMIT_MS)
                position = resume(known, self._topic_id)
                offset = max(position.offset, begins[place])
                self._warn_of_gap(place.partition, position.offset, offset)
                self._consumer.seek(place, offset)
                self._lanes[place.partition] = _Lane(offset, position.offset, Repeats(position.marks))

    def _take(self, partition: int, records: Sequence[Any]) -> None:
        lane = self._lanes[partition]
        records = [record for record in records if record.offset >= lane.next]
        if not records:
            return
        first = records[0].offset
        self._warn_of_gap(partition, lane.next, first)
        lane.next = records[-1].offset + 1
        topics, offsets = clean.raw_identities(records)
        if not self._origins.explain(partition, topics, offsets):
            self._origins.refresh()
            explained = self._origins.explained(partition, topics, offsets, lane.repeats.marks)
            if not all(explained):
                forged = [record.offset for record, is_ours in zip(records, explained, strict=True) if not is_ours]
                warn_of_forged(self.topic, partition, forged)
                records = list(compress(records, explained))
                topics, offsets = list(compress(topics, explained)), list(compress(offsets, explained))
        fresh = lane.repeats.fresh_many(topics, offsets)  # invariant 3
        values = [record.value for record, new in zip(records, fresh, strict=True) if new]
        if not values:
            return
        rows = self._chosen_columns(self._codec.decode(values))
        origins = [(topic, offset) for topic, offset, new in zip(topics, offsets, fresh, strict=True) if new]
        position = Position(self._topic_id, lane.next, lane.repeats.marks)
        self._ready.append(Batch(self._chosen, rows, origins, partition, first, position, self._committer()))

    def _chosen_columns(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[Sequence[Any]]:
        order = self._order
        return rows if order == list(range(len(rows[0]))) else [[row[i] for i in order] for row in rows]

    def _committer(self) -> Callable[[int, Position], None]:
        epoch = self._epoch

        def commit(partition: int, position: Position) -> None:
            self._commit(epoch, partition, position)

        return commit

    def _commit(self, epoch: int, partition: int, position: Position) -> None:
        lost = PartitionLost(
            f"Partition {partition} of {self.topic} was taken from this member of {model_group(self.name)} before the "
            "batch was committed: undo what the model did with it, its events are delivered again."
        )
        if epoch != self._epoch or self._consumer is None:
            raise lost
        lane = self._lanes[partition]
        if position.offset <= lane.committed:
            return
        with translated(self._bootstrap, f"committing for {model_group(self.name)}"):
            try:
                place = TopicPartition(self.topic, partition)
                self._consumer.commit({place: position.committed()}, timeout_ms=COMMIT_MS)
            except LOST:
                raise lost from None
        lane.committed = position.offset

    def _same_topic(self, insist: bool) -> bool:
        """Whether what was fetched is of the incarnation we know (KIP-516: ids never come back); joins anew if not.

        Also asked when nothing comes: a consumer does not always notice that its topic was made again.
        """
        topic_id = self._ask_topic_id(insist)
        if topic_id in (self._topic_id, None):
            return True
        log.warning("%s was deleted and made again; reading it from its beginning", self.topic)
        self.close()
        self._topic_id, self._generation, self._lanes = topic_id, -1, {}
        self._coverage.forget()
        self._consumer = self._join()
        return False

    def _ask_topic_id(self, insist: bool) -> str | None:
        """The topic's id; asked until it is answered where fetched events wait for it, else None without an answer."""
        for wait in delays():
            try:
                return admin.topic_id(self._bootstrap, self.topic)
            except Retryable as error:
                if not insist:
                    return None
                log.warning("%s Trying again in %.1f s.", error, wait)
                time.sleep(wait)
        raise AssertionError("delays() is endless")

    def _warn_of_gap(self, partition: int, expected: int, found: int) -> None:
        if found > expected:
            log.warning(
                "%s: partition %d: offsets %d to %d are gone (retention) before %s read them",
                self.topic, partition, expected, found - 1, model_group(self.name),
            )  # fmt: skip


def chosen_fields(schema: CleanSchema, names: Sequence[str]) -> tuple[Field, ...]:
    """The fields called `names` in that order; all when there are none. Raises ConfigError for an unknown one."""
    known = {field.name: field for field in schema.fields}
    for name in names:
        if name not in known:
            raise ConfigError(
                f'{schema.stream} v{schema.version} has no clean field "{name}".'
                f"{nearest(name, known)} Its fields are {', '.join(known)}."
            )
    return tuple(known[name] for name in names) or schema.fields
