"""Runs a worker's job over a log in memory, until nothing is left to read: what Faust does for it over Kafka."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.kafka.message_format import AnyRecord
from clearwell.testing.kills import Kills
from clearwell.testing.memory_group import MemoryConsumer
from clearwell.testing.memory_log import MemoryLog
from clearwell.testing.memory_partition import MemoryRecord
from clearwell.testing.memory_producer import MemoryProducer, MemorySending
from clearwell.worker.job import GetProducer, Job
from clearwell.worker.partition_processor import PartitionProcessor

MakeJob = Callable[[GetProducer], Awaitable[Job]]


@dataclass(slots=True)
class _Message:
    """As Faust's, as far as `PartitionProcessor` reads it."""

    partition: int
    generation_id: int
    value: list[MemoryRecord]
    next: int


@dataclass(slots=True)
class _Event:
    """A fetched batch; acknowledged when all that it produced is durable."""

    message: _Message
    stream: _PartitionStream
    acked: bool = False

    def ack(self) -> None:
        self.acked = True
        try:
            self.stream.commit()
        except Exception as error:
            self.stream.fail(error)


class _PartitionStream:
    """What one partition gives to the processor: batches from a start to the end; commits the acknowledged prefix."""

    def __init__(
        self,
        log: MemoryLog,
        job: Job,
        member: MemoryConsumer,
        tp: TP,
        start: int,
        batch_size: int,
        fail: Callable[[BaseException], None],
        kills: Kills,
    ) -> None:
        self.fail = fail
        self._kills = kills
        self._log = log
        self._job = job
        self._member = member
        self._tp = tp
        self._next = start
        self._batch_size = batch_size
        self._unacked: deque[_Event] = deque()
        self._quiet = asyncio.Event()

    def noack(self) -> _PartitionStream:
        return self

    async def events(self) -> AsyncIterator[_Event]:
        """Ends when all is read and acknowledged."""
        while records := self._fetch():
            self._quiet.clear()
            self._next = records[-1].offset + 1
            message = _Message(self._tp.partition, self._member.generation, records, self._next)
            self._unacked.append(_Event(message, self))
            yield self._unacked[-1]
        if self._unacked:
            await self._quiet.wait()
        end = self._log.end_offsets(self._tp.topic)[self._tp.partition]
        if end > self._next:  # markers of transactions, and what was aborted
            self._store(end)

    def commit(self) -> None:
        """Never past a batch that is not acknowledged (invariant 2)."""
        offset = None
        while self._unacked and self._unacked[0].acked:
            offset = self._unacked.popleft().message.next
        if offset is not None:
            self._store(offset)
        if not self._unacked:
            self._quiet.set()

    def _fetch(self) -> list[MemoryRecord]:
        with self._log.lock:
            partition = self._log.partition(self._tp.topic, self._tp.partition)
            return partition.read(self._next, partition.end, self._batch_size)

    def _store(self, offset: int) -> None:
        note = self._job.positions.metadata(self._tp)
        self._kills.around("commit", lambda: self._member.commit({self._tp.partition: (offset, note)}))


class _Producer(MemoryProducer):
    """Of a process that may be killed before or after it appends."""

    def __init__(self, log: MemoryLog, kills: Kills) -> None:
        super().__init__(log)
        self._kills = kills

    def begin_at(self, topic: str, partition: int, records: Sequence[AnyRecord]) -> MemorySending:
        return self._kills.around("append", lambda: super(_Producer, self).begin_at(topic, partition, records))


async def run_job(log: MemoryLog, make: MakeJob, batch_size: int, kills: Kills) -> None:
    """Take all partitions, process what there is in batches of at most so many records, and leave the group.

    Raises what ends the job's process, as of an unrecoverable failure; what was not acknowledged is read again then.
    """
    producer = _Producer(log, kills)
    job = await make(lambda: producer)
    member = log.consumer(job.group, job.topic.topic, tuple, instance=None, max_records=batch_size)
    try:
        member.poll(0)  # joins
        await _process(log, job, member, batch_size, kills)
    finally:
        producer.close()
        member.close()


async def _process(log: MemoryLog, job: Job, member: MemoryConsumer, batch_size: int, kills: Kills) -> None:
    async def commit(offsets: Mapping[TP, Any]) -> bool:
        member.commit({tp.partition: (known.offset, known.metadata) for tp, known in offsets.items()})
        return True

    stored = {TP(job.topic.topic, partition): member.committed(partition) for partition in member.assignment()}
    committed = {tp: None if known is None else OffsetAndMetadata(*known) for tp, known in stored.items()}
    starts = await job.positions.start(committed, member.generation, commit)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # of a process that was killed nobody waits for what it had begun
    failure: asyncio.Future[None] = loop.create_future()

    def fail(error: BaseException) -> None:
        if not failure.done():
            failure.set_exception(error)

    processor = PartitionProcessor(job.work, fail, job.topic.lineage, job.meter)
    streams = [_PartitionStream(log, job, member, tp, start, batch_size, fail, kills) for tp, start in starts.items()]
    agents = asyncio.gather(*(processor.run(stream) for stream in streams))
    await asyncio.wait((agents, failure), return_when=asyncio.FIRST_COMPLETED)
    agents.cancel()
    await asyncio.wait((agents,))
    if failure.done():
        await failure
    failure.cancel()
    if not agents.cancelled():
        agents.result()
