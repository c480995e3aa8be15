"""A Faust app as Clearwell uses it: batch transport, no web server, no tables, no topic declarations."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import faust

from clearwell.errors import ClearwellError, Fatal
from clearwell.kafka.coverage import LOOK_S, Coverage
from clearwell.kafka.security import KafkaSecurity, security_of
from clearwell.process_end import FAILED_WITHIN, end_within, leave, run_and_leave
from clearwell.worker.job import Companion, GetProducer, Job
from clearwell.worker.partition_processor import PartitionProcessor
from clearwell.worker.topic_identity import TopicIdentity
from clearwell.worker.transport import BatchProducer, BatchSchema, Positions

log = logging.getLogger(__name__)

REQUEST_TIMEOUT = 300.0
"""Seconds that a produce request is retried in place before the process gives up and ends."""

MOST_WAITING = 7 * 86_400.0
"""Seconds that a member of a group may take nothing: neither a store that is down nor a pause is a reason to leave it.
Whether the process lives, its heartbeats tell within the session timeout."""

STOP_WITHIN = 15.0
"""Seconds that a stop waits for what is in flight: it takes 1 to 8, but a store that is away would never end it."""

GUARD_EVERY = 5.0
"""Seconds between two looks at the topic's identity while nothing comes."""

ALONE_AT_MOST = 60.0
"""Seconds in no consumer group after which a process is not left to itself."""

COLLECT_AFTER = 500_000
"""Objects made since the last look for garbage in cycles. 16,000 records in flight are 130,000 objects, headers above
all, and none of them is garbage: looking at them after each 50,000 took a fifth of a deliverer's time."""

PRODUCER_MAX_BATCH = 8_388_608
"""Bytes. A clean or dead record may be larger than its raw event (sealing adds a third), never larger than this."""


class _App(faust.App):
    positions: Positions

    def Table(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: tables are silently wrong with batches; state lives in the log and in the destinations."""
        raise Fatal("Faust tables do not work with the batch transport.")

    GlobalTable = SetTable = SetGlobalTable = Table

    def _create_directories(self) -> None:
        """None: they are for tables, and Faust would make them in the working directory."""


def build_app(group: str, bootstrap: str, positions: Positions) -> faust.App:
    """A Faust app for one consumer group; settings as measured in the facts about Faust.

    CLEARWELL_WORKER names this worker for static group membership: a restarted worker takes its partitions back at
    once. Unset means an ordinary member. Raises ConfigError as `security_of` does.
    """
    worker = os.environ.get("CLEARWELL_WORKER")
    app = _App(
        group,
        broker=[f"kafkabatch://{address}" for address in bootstrap.split(",")],
        broker_credentials=_credentials(security_of(bootstrap)),
        agent_supervisor="mode.CrashingSupervisor",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        stream_wait_empty=True,
        stream_buffer_maxsize=1,  # a second batch a partition: 40 MB, and no faster
        broker_max_poll_records=6_000,  # see BATCH_BYTES
        broker_commit_interval=0.5,
        broker_session_timeout=10.0,
        broker_max_poll_interval=MOST_WAITING,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=30.0,
        producer_request_timeout=REQUEST_TIMEOUT,
        consumer_max_fetch_size=4_194_304,
        consumer_group_instance_id=f"{group}.{worker}" if worker else None,
        consumer_auto_offset_reset="earliest",
        # A broker that has just come back may not name the topic yet: look again soon, not in Faust's five minutes.
        consumer_metadata_max_age_ms=5_000,
        producer_compression_type="zstd",
        producer_max_batch_size=PRODUCER_MAX_BATCH,
        producer_max_request_size=PRODUCER_MAX_BATCH,
        producer_linger=0.0,
    )
    app.positions = positions
    return app


def _credentials(security: KafkaSecurity) -> faust.types.auth.CredentialsT | None:
    if security.mechanism is not None:
        return faust.SASLCredentials(
            username=security.user,
            password=security.password,
            ssl_context=security.context,
            mechanism=security.mechanism,
        )
    return faust.SSLCredentials(security.context) if security.context is not None else None


def producer_of(app: faust.App) -> BatchProducer:
    """The producer of a started app."""
    producer: Any = app.producer
    if not isinstance(producer, BatchProducer):
        raise TypeError(f"the app's producer is a {type(producer).__name__}")
    return producer


MakeJob = Callable[[GetProducer], Awaitable[Job]]
"""Makes a job inside the event loop; raises ClearwellError when anything that it needs is missing."""


def run(make: MakeJob) -> NoReturn:
    """Run a job until SIGTERM or SIGINT (exit code 0) or a failure (its exit code), and end the process.

    A failure ends the process without acknowledging anything more: the batches are read again (invariant 2).
    """
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    run_and_leave(lambda: _run(make), report)


async def _run(make: MakeJob) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[BaseException | None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        end_within(STOP_WITHIN + FAILED_WITHIN if error is None else FAILED_WITHIN)
        if not ended.done():
            ended.set_result(error)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, None)
    making = asyncio.ensure_future(make(lambda: producer_of(app)))
    await asyncio.wait((making, ended), return_when=asyncio.FIRST_COMPLETED)
    if not making.done():
        leave(0)
    try:
        job = await making
        app = build_app(job.group, job.client.address, job.positions)
    except ClearwellError as error:
        return report(error)
    name = job.topic.topic
    processor = PartitionProcessor(job.work, fail=end, lineage=job.topic.lineage)
    app.agent(app.topic(name, schema=BatchSchema()), isolated_partitions=True, name=name)(processor.run)
    await app.start()
    coverage = Coverage(job.client, job.group, name)
    running = (_watch(app, end), _guard(job.topic, end), _belong(app, end), _cover(app, name, coverage, end))
    watches = [asyncio.create_task(watch) for watch in running]
    if job.companion is not None:
        watches.append(asyncio.create_task(_accompany(job.companion, end)))
    failure = await ended
    for watch in watches:
        watch.cancel()
    if failure is not None:
        if job.companion is not None:
            job.companion.report_failure(failure)
        leave(report(failure))
    stopping = asyncio.ensure_future(app.stop())
    await asyncio.wait((stopping,), timeout=STOP_WITHIN)
    if not stopping.done():
        log.warning("stopped; what a store has not taken yet, the next process reads again")
        leave(0)
    await stopping
    log.info("stopped")
    return 0


async def _watch(app: faust.App, end: Callable[[BaseException | None], None]) -> None:
    """Faust marks itself crashed or stopped in many ways; each of them ends this process."""
    await app.wait_until_stopped()
    end(app.crash_reason or Fatal("Faust stopped by itself."))


async def _accompany(companion: Companion, end: Callable[[BaseException | None], None]) -> None:
    try:
        await companion.run()
    except Exception as error:
        end(error)


async def _guard(topic: TopicIdentity, end: Callable[[BaseException | None], None]) -> None:
    """A recreated topic is noticed while nothing comes, too: aiokafka gives a deleted one up and never looks again."""
    while True:
        await asyncio.sleep(GUARD_EVERY)
        try:
            if topic.id:
                await topic.confirm()
        except Exception as error:
            end(error)


async def _cover(app: faust.App, topic: str, coverage: Coverage, end: Callable[[BaseException | None], None]) -> None:
    """See to it that each partition is held by somebody; a group is looked at when it or its topic has changed.

    A named worker that comes back is not told that it leads its group (see `coverage.py`): what the one before had not
    shared out, as of a topic that was made again or has more partitions, nobody would.
    """
    consumer: Any = app.consumer
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


async def _belong(app: faust.App, end: Callable[[BaseException | None], None]) -> None:
    """A member that the group has dropped, or that another under its name has pushed out, may never come back."""
    consumer: Any = app.consumer
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


def report(error: BaseException) -> int:
    """Log why the process ends and return its exit code.

    Our own errors are one sentence. Of any other only type and places are logged: its text may quote data
    (invariant 9).
    """
    if isinstance(error, ClearwellError):
        log.error("%s", error)
        return error.exit_code
    frames = "".join(traceback.format_list(traceback.extract_tb(error.__traceback__)))
    log.error("ended by %s (text withheld, it may quote data), raised at:\n%s", type(error).__name__, frames)
    return Fatal.exit_code


def set_up_logging() -> None:
    """Log lines to standard error: time, level, where, text. Libraries only from WARNING on."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in ("clearwell", "services", "connectors", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
    # What is raised where partitions start (fenced, parted) comes by there with a traceback; `report` says it once.
    logging.getLogger("faust.tables.recovery").setLevel(logging.CRITICAL)
