"""A Faust transport in which one event is one fetched batch of ONE partition: a list of plain records.

Stock Faust costs about 65 µs a record; a batch costs about 100 µs whatever it holds. Chosen by
`broker="kafkabatch://host:port"` (entry point `faust.transports`). It overrides private methods of Faust 0.15.3:
the version is pinned and tests/unit/worker/test_faust_pin.py fails when those methods change.

Rules that stock Faust does not keep, and this does:
- only a completely acknowledged prefix of a partition is committed (invariant 2);
- where a partition starts is asked of `app.positions`, so a destination's own position or the identity of a recreated
  topic decides, not the group's offset alone (invariants 3 and 4);
- only what a transaction has committed is read (Faust's own consumers read aborted and open transactions too);
- no topic is made by asking for it, whatever the broker's `auto.create.topics.enable` says;
- Faust tables are refused: they are silently wrong with batches.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, ClassVar, Protocol

import faust
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.structs import OffsetAndMetadata
from faust.events import Event
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from mode.utils.futures import notify

from clearwell.kafka.consumer_options import READ_COMMITTED, never_create_topics
from clearwell.kafka.message_format import AnyRecord
from clearwell.kafka.plain_records import read_plain_records
from clearwell.worker.batch_builder import WrittenBatch, chunks
from clearwell.worker.stalls import Stalls

FETCH_WAIT_MS = 20
"""How long the broker holds a fetch that finds nothing. aiokafka has one fetch a broker under way and leaves partitions
out of it whose records are not consumed yet; Faust's 1,500 ms would keep those waiting for the empty ones."""

REQUEST_SECONDS = 20.0
"""How long one request to Kafka may take (invariant 12); a batch is retried far longer."""


Commit = Callable[[Mapping[TP, OffsetAndMetadata]], Awaitable[bool]]
"""Commits; False when a later generation of the group has begun, so that nothing was stored."""


class Positions(Protocol):
    """Where partitions start, and what a commit remembers beside the offset."""

    async def start(
        self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int, commit: Commit
    ) -> Mapping[TP, int]:
        """The offset to read next for each partition. `committed` is what the group stored, None where nothing.

        `commit` stores something for the group at once.
        """

    def metadata(self, tp: TP) -> str:
        """What to store with a committed offset of `tp` (the topic's id)."""


def positions_of(app: Any) -> Positions:
    """The positions of an app made by `clearwell.worker.faust_app.build_app`."""
    positions: Positions = app.positions
    return positions


class BatchConsumerThread(driver.AIOKafkaConsumerThread):
    """Asks the app's positions where to start, and commits with metadata."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        read_plain_records()
        never_create_topics()
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._isolation_level = READ_COMMITTED
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every assigned partition to where `app.positions` says; returns those offsets."""
        committed = await self.call_thread(self._fetch_committed)
        starts = await positions_of(self.app).start(committed, self.app.consumer_generation_id, self._commit_now)
        await self.call_thread(self._seek_all, starts)
        return starts

    async def rejoin(self) -> None:
        """Join the group again, in the consumer's own thread."""
        self._ensure_consumer()._coordinator.request_rejoin()  # aiokafka has no public way

    async def _commit_now(self, offsets: Mapping[TP, OffsetAndMetadata]) -> bool:
        stored = {driver.ensure_aiokafka_TP(tp): offset for tp, offset in offsets.items()}
        try:
            await self.call_thread(self._ensure_consumer().commit, stored)
        except (CommitFailedError, IllegalStateError):
            return False
        return True

    async def _fetch_committed(self) -> Mapping[TP, OffsetAndMetadata | None]:
        consumer = self._ensure_consumer()
        partitions = list(consumer.assignment())
        offsets = await consumer._coordinator.fetch_committed_offsets(partitions)
        known = {TP(*tp): offsets[tp] for tp in partitions if tp in offsets and offsets[tp].offset >= 0}
        return {TP(*tp): known.get(TP(*tp)) for tp in partitions}

    async def _seek_all(self, starts: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        for tp, offset in starts.items():
            if tp in self.assignment():
                consumer.seek(driver.ensure_aiokafka_TP(tp), offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        consumer = self._ensure_consumer()
        stored = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, positions_of(self.app).metadata(tp))
            for tp, offset in offsets.items()
            if tp in self.assignment()
        }
        try:
            await consumer.commit(stored)
        except CommitFailedError:
            return False  # the partition went to another member: it reads the batch again (invariant 2)
        except Exception as error:
            await self.crash(error)
            return False
        self.tp_last_committed_at.update(dict.fromkeys(offsets, monotonic()))
        return True


class BatchConsumer(driver.Consumer):
    """Delivers batches and commits only the acknowledged prefix of each partition."""

    _inflight: defaultdict[TP, deque[Message]]

    def on_init(self) -> None:
        """Called by Faust at construction and at restart."""
        super().on_init()
        self._inflight = defaultdict(deque)  # in delivery order; popped when committable
        self._stalls = Stalls()
        self._forget_passed()

    def _forget_passed(self) -> None:
        self._fetched: dict[TP, int] = {}  # the last offset that was fetched, and the last one that is a message
        self._taken: dict[TP, int] = {}
        self._passed: dict[TP, int] = {}  # where a partition stands of which nothing is under way
        self._sure = True  # no fetch was broken off, whose records are in neither
        self._quiet: Mapping[TP, int] = {}  # where all partitions stand while nothing of any is under way
        self._stood: Mapping[TP, int] = {}  # where each that is held stood when nothing of it was under way

    def is_member(self) -> bool:
        """Whether the group has us, as of its last answer; Kafka being away changes nothing of that."""
        consumer = getattr(self._thread, "_consumer", None)
        coordinator: Any = getattr(consumer, "_coordinator", None)
        return coordinator is None or coordinator.generation > 0

    def quiet_positions(self, topic: str) -> Mapping[int, int] | None:
        """By partition of the topic, the offset that is read next; None while anything is under way.

        As of the last time that records were asked for. May be called from any thread.
        """
        positions = self._quiet
        if any(self._inflight.values()) or self._fetched != self._taken:
            return None
        return {tp.partition: offset for tp, offset in positions.items() if tp.topic == topic} or None

    def held_positions(self, topic: str) -> Mapping[int, int]:
        """By partition of the topic that is held, where it stood when nothing of it was under way; -1: not since it is.

        As of the last time that records were asked for. May be called from any thread.
        """
        return {tp.partition: offset for tp, offset in self._stood.items() if tp.topic == topic}

    async def break_off(self, seconds: float) -> None:
        """Leave Kafka without committing; a thread that does not end within `seconds` is left to itself."""
        thread: Any = self._thread
        if thread is None or thread._thread is None or thread.thread_loop.is_closed():
            return
        thread._stopped_set()  # its own way to end: it closes the consumer, which commits nothing by itself
        await asyncio.to_thread(thread._thread.join, seconds)

    def sharing(self, topic: str) -> tuple[int, int]:
        """The group's generation, and how many partitions of the topic Kafka's metadata tell of."""
        consumer = getattr(self._thread, "_consumer", None)
        if consumer is None:
            return 0, 0
        return consumer._coordinator.generation, len(consumer._client.cluster.partitions_for_topic(topic) or ())

    async def call_in_thread(self, action: Callable[[], None]) -> None:
        """Call `action` in the consumer's own thread."""

        async def call() -> None:
            action()

        thread: Any = self._thread
        await thread.call_thread(call)

    async def rejoin(self) -> None:
        """Have the partitions shared out anew, if this member is the group's leader."""
        thread: Any = self._thread
        await thread.call_thread(thread.rejoin)

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:  # noqa: ASYNC109 - Faust's
        self._note_passed()
        sure, self._sure = self._sure, False
        records = await super()._getmany(active_partitions, timeout)
        self._sure = sure
        self._fetched.update({TP(*tp): slice_[-1].offset for tp, slice_ in records.items() if slice_})
        return {tp: [slice_] for tp, slice_ in records.items() if slice_}

    def _note_passed(self) -> None:
        """Where the consumer stands, of partitions whose records are all acknowledged.

        After the last record there may be offsets that hold none: markers of transactions, and what was aborted. They
        are committed too, else a group would seem to lag behind for ever.
        """
        consumer = self._thread._consumer
        assignment = consumer and consumer._subscription.subscription and consumer._subscription.subscription.assignment
        if not (self._sure and assignment and self.flow_active):
            return
        positions = {}
        for tp in map(TP._make, assignment.tps):
            position = assignment.state_value(driver.ensure_aiokafka_TP(tp))._position
            if position is not None and self._fetched.get(tp) == self._taken.get(tp) and not self._inflight[tp]:
                positions[tp] = position
        self._passed |= {tp: position for tp, position in positions.items() if position}
        self._quiet = positions if len(positions) == len(assignment.tps) else {}
        self._stood = {tp: positions.get(tp, self._stood.get(tp, -1)) for tp in map(TP._make, assignment.tps)}

    def _to_message(self, tp: TP, records: list[Any]) -> ConsumerMessage:
        last, tp = records[-1], TP(*tp)
        value: Any = records  # Faust says bytes; what travels is the batch
        message = ConsumerMessage(
            *tp, last.offset, last.timestamp / 1000.0, last.timestamp_type, None, None, value,
            None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        self._taken[tp] = last.offset
        if last.offset >= (self._read_offset[tp] or 0):  # else Faust's _drain_messages drops it
            self._inflight[tp].append(message)
        return message

    def ack(self, message: Message) -> bool:
        """Mark a batch as durable. Its records are freed; its place in the queue waits for those before it."""
        if message.acked:
            return False
        message.acked = True
        message.value = None
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._inflight) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        queue, offset = self._inflight[tp], None
        while queue and queue[0].acked:  # invariant 2: never past one that is not acknowledged
            offset = queue.popleft().offset + 1
        passed = self._passed.pop(tp, None)
        return offset if queue or passed is None else max(passed, offset or 0)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets of batches are sparse by design: there are no gaps to keep."""

    def on_buffer_full(self, tp: TP) -> None:
        """A full stream queue blocks the fetch loop; no pausing of partitions, no one-second sleep."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See on_buffer_full."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own look at each partition, which takes a quiet or a slow one for broken; ours is `stalls.py`."""
        queue = self._inflight[tp]
        oldest = queue[0] if queue else None
        waits_for_commit = oldest is not None and oldest.acked
        self._stalls.look(tp, None if oldest is None else oldest.offset, waits_for_commit, now)

    async def perform_seek(self) -> None:
        """After each rebalance all starts again at the positions; what was in flight is not committed."""
        self._inflight.clear()
        self._forget_passed()
        await super().perform_seek()


class BatchProducer(driver.Producer):
    """Idempotent, and sends whole batches (see clearwell/worker/batch_builder.py)."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"enable_idempotence": True, "acks": "all"}

    def _new_producer(self, transactional_id: str | None = None) -> Any:
        """aiokafka has one number for how long a request may take and how long a batch is retried: they differ here.

        A connection that swallows what is sent is given up, and the same batch sent on another, by the same number.
        """
        producer = super()._new_producer(transactional_id)
        milliseconds = int(REQUEST_SECONDS * 1000)
        producer.client._request_timeout_ms = producer._sender._request_timeout_ms = milliseconds
        return producer

    async def send_records(self, topic: str, partition: int, records: Sequence[AnyRecord]) -> list[asyncio.Future[Any]]:
        """Hand records to the accumulator in order, as full batches; returns one future a batch, none awaited.

        Order within the partition is kept across calls. The futures raise aiokafka's KafkaError.
        """
        producer = self._ensure_producer()
        known = producer.client.cluster.partitions_for_topic(topic)
        if known is not None and partition not in known:
            await producer.client.force_metadata_update()  # the topic has grown since
        return [await producer.send_batch(WrittenBatch(chunk), topic, partition=partition) for chunk in chunks(records)]


class BatchTransport(driver.Transport):
    """Register name: `kafkabatch`."""

    Consumer: ClassVar[type[BatchConsumer]] = BatchConsumer
    Producer: ClassVar[type[BatchProducer]] = BatchProducer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self.app, "positions", None) is None:
            raise TypeError("the kafkabatch transport needs app.positions (clearwell.worker.transport.Positions)")


class BatchSchema(faust.Schema[Any, Any]):
    """The value of an event is already a list of records: no codec, no model."""

    def compile(self, app: Any, **kwargs: Any) -> Any:
        """See faust.Schema."""

        async def decode(message: Message, *, propagate: bool = False) -> Event:
            return Event(app, None, message.value, None, message)

        return decode
