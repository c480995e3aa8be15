"""One run of a job in an event loop of its own: from its start to an orderly stop, or until it is broken off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import faust

from clearwell.errors import Fatal
from clearwell.kafka.coverage import LOOK_S, Coverage
from clearwell.worker.faust_app import build_app, consumer_of, producer_of
from clearwell.worker.job import GetProducer, Job
from clearwell.worker.partition_processor import PartitionProcessor
from clearwell.worker.topic_identity import TopicIdentity
from clearwell.worker.transport import BatchConsumer, BatchSchema

log = logging.getLogger(__name__)

STOP_WITHIN = 15.0
"""Seconds that a stop waits for what is in flight: it takes 1 to 8, but a store that is away would never end it."""

BROKEN_OFF_WITHIN = 3.0
"""Seconds that each step of breaking off may take."""

GUARD_EVERY = 5.0
"""Seconds between two looks at the topic's identity while nothing comes."""

ALONE_AT_MOST = 60.0
"""Seconds in no consumer group after which a job is not left to itself."""

MakeJob = Callable[[GetProducer], Awaitable[Job]]
"""Makes a job inside the event loop; raises ClearwellError when anything that it needs is missing."""


class JobRun:
    """A Faust app and what watches over it. All but `positions` is to be called inside its event loop."""

    def __init__(self, make: MakeJob, instance: str | None) -> None:
        """`instance`: see `faust_app.build_app`."""
        self._make = make
        self._instance = instance
        self._job: Job | None = None
        self._app: faust.App | None = None
        self._watches: list[asyncio.Task[None]] = []

    async def run(self, stop: asyncio.Event, on_start: Callable[[], None]) -> None:
        """Run until `stop` is set; `on_start` is called as soon as batches may come.

        Raises what ended the job. Then nothing more is produced, acknowledged or committed by it: what was not durable
        is read again (invariant 2).
        """
        ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        def end(error: BaseException) -> None:
            if not ended.done():
                ended.set_result(error)

        in_order = False
        try:
            if not await self._start_unless(stop, end):
                return
            on_start()
            await _first_of(stop.wait(), ended)
            if not ended.done():
                self._end_watches()  # they would take Faust's stop for a failure
                in_order = await self._stop(ended)
            if ended.done():
                raise ended.result()
        finally:
            self._end_watches()
            if not in_order:
                await self._break_off()
            if self._job is not None:
                await _within(asyncio.to_thread(self._job.close))

    def positions(self) -> Mapping[int, int] | None:
        """By partition, the offset that is read next; None while anything is under way, or no partition is held.

        May be called from any thread.
        """
        consumer = self._consumer()
        return None if consumer is None or self._job is None else consumer.quiet_positions(self._job.topic.topic)

    def held_positions(self) -> Mapping[int, int] | None:
        """By partition that it holds, where it stood when nothing of it was under way; -1: unknown. None: none.

        May be called from any thread.
        """
        consumer = self._consumer()
        return None if consumer is None or self._job is None else consumer.held_positions(self._job.topic.topic)

    def stuck(self, seconds: float) -> str | None:
        """What to say of a batch on which it has worked for more than `seconds`; None where there is none such."""
        watch = None if self._job is None else self._job.watch
        batch = None if watch is None else watch.batch
        now = time.time()
        return None if batch is None or now - batch.since < seconds else batch.sentence(now)

    async def _start_unless(self, stop: asyncio.Event, end: Callable[[BaseException], None]) -> bool:
        """Start; False when `stop` was set before that was done, as while a store is waited for."""
        starting = asyncio.ensure_future(self._start(end))
        try:
            await _first_of(stop.wait(), starting)
        finally:
            if not starting.done():
                starting.cancel()
        if not starting.done():
            await asyncio.wait((starting,), timeout=BROKEN_OFF_WITHIN)
            return False
        await starting
        return True

    async def _start(self, end: Callable[[BaseException], None]) -> None:
        app: faust.App | None = None

        def producer() -> Any:
            if app is None:
                raise Fatal("The job asked for its producer before it ran.")
            return producer_of(app)

        job = self._job = await self._make(producer)
        app = self._app = build_app(job.group, job.client.address, job.positions, self._instance)
        name = job.topic.topic
        processor = PartitionProcessor(job.work, fail=end, lineage=job.topic.lineage, meter=job.meter)
        app.agent(app.topic(name, schema=BatchSchema()), isolated_partitions=True, name=name)(processor.run)
        await app.start()
        if job.meter is not None:
            job.meter.watch_thread()
            await consumer_of(app).call_in_thread(job.meter.watch_thread)
        coverage = Coverage(job.client, job.group, name)
        watches = (_watch(app, end), _guard(job.topic, end), _belong(app, end), _cover(app, name, coverage, end))
        self._watches = [asyncio.create_task(watch) for watch in watches]

    def _end_watches(self) -> None:
        for watch in self._watches:
            watch.cancel()

    async def _stop(self, ended: asyncio.Future[BaseException]) -> bool:
        """Let what is in flight become durable, and commit it; False when that took too long, or some of it failed.

        Then it is broken off: Faust's stop would send what is queued behind what failed.
        """
        app = self._app
        if app is None:
            return True
        stopping = asyncio.ensure_future(app.stop())
        await asyncio.wait((stopping, ended), timeout=STOP_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done() or ended.done():
            log.warning("stopped; what a store has not taken yet is read again")
            stopping.cancel()
            return False
        await stopping
        log.info("stopped")
        return True

    async def _break_off(self) -> None:
        """Let go of Kafka without a further word: what the producer still holds is never sent, nothing is committed."""
        if self._app is None:
            return
        app: Any = self._app
        producer = getattr(app._producer, "_producer", None) if app._producer is not None else None
        if producer is not None:
            sender = producer._sender._sender_task  # aiokafka's `stop` would send what is queued behind what failed
            if sender is not None:
                sender.cancel()
            await _within(producer.client.close())
            producer._closed = True  # else it warns that nobody has closed it
        consumer = self._consumer()
        if consumer is not None:
            await consumer.break_off(BROKEN_OFF_WITHIN)

    def _consumer(self) -> BatchConsumer | None:
        consumer = getattr(self._app, "_consumer", None)  # Faust's property would make one
        return consumer if isinstance(consumer, BatchConsumer) else None


async def _first_of(first: Coroutine[Any, Any, Any], second: asyncio.Future[Any]) -> None:
    waiting = asyncio.ensure_future(first)
    try:
        await asyncio.wait((waiting, second), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _within(step: Coroutine[Any, Any, Any]) -> None:
    """Do one step of letting go; one that fails, or takes too long, does not keep the others from being done."""
    doing = asyncio.ensure_future(step)
    await asyncio.wait((doing,), timeout=BROKEN_OFF_WITHIN)
    if doing.done():
        with contextlib.suppress(BaseException):
            doing.result()
    else:
        doing.cancel()


async def _watch(app: faust.App, end: Callable[[BaseException], None]) -> None:
    """Faust marks itself crashed or stopped in many ways; each of them ends this run."""
    await app.wait_until_stopped()
    end(app.crash_reason or Fatal("Faust stopped by itself."))


async def _guard(topic: TopicIdentity, end: Callable[[BaseException], None]) -> None:
    """A recreated topic is noticed while nothing comes, too: aiokafka gives a deleted one up and never looks again."""
    while True:
        await asyncio.sleep(GUARD_EVERY)
        try:
            if topic.id:
                await topic.confirm()
        except Exception as error:
            end(error)


async def _cover(app: faust.App, topic: str, coverage: Coverage, end: Callable[[BaseException], None]) -> None:
    """See to it that each partition is held by somebody; a group is looked at when it or its topic has changed.

    A named worker that comes back is not told that it leads its group (see `coverage.py`): what the one before had not
    shared out, as of a topic that was made again or has more partitions, nobody would.
    """
    consumer = consumer_of(app)
    known: tuple[int, int] | None = None
    while True:
        await asyncio.sleep(GUARD_EVERY if coverage.complete else LOOK_S)
        sharing = consumer.sharing(topic)
        if sharing != known:
            known = sharing
            coverage.forget()
        try:
            if not coverage.complete and await asyncio.to_thread(coverage.lacks):
                await consumer.rejoin()
        except Exception as error:  # else nobody would look any more, and nobody be told
            end(error)


async def _belong(app: faust.App, end: Callable[[BaseException], None]) -> None:
    """A member that the group has dropped, or that another under its name has pushed out, may never come back."""
    consumer = consumer_of(app)
    alone_since: float | None = None
    while True:
        await asyncio.sleep(GUARD_EVERY)
        if consumer.is_member():
            alone_since = None
            continue
        alone_since = alone_since or time.monotonic()
        if time.monotonic() - alone_since > ALONE_AT_MOST:
            group = app.conf.id
            end(
                Fatal(
                    f"This process was not in its group {group} for {ALONE_AT_MOST:.0f} s and ends: is another one "
                    "at work under its name? Each host needs a CLEARWELL_WORKER of its own."
                )
            )
