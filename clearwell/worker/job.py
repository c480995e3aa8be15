"""One job of a worker: a consumer group over one topic, where its partitions start, and what it does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from clearwell.kafka.log_client import LogClient
from clearwell.kafka.message_format import AnyRecord
from clearwell.worker.batch_watch import BatchWatch
from clearwell.worker.job_meters import JobMeter
from clearwell.worker.partition_processor import BatchWork
from clearwell.worker.topic_identity import TopicIdentity

if TYPE_CHECKING:
    from clearwell.worker.transport import Positions


class RecordProducer(Protocol):
    """What a job writes through."""

    async def send_records(self, topic: str, partition: int, records: Sequence[AnyRecord]) -> list[asyncio.Future[Any]]:
        """Append records to a partition in order, also across calls; the futures are done when they are durable.

        The futures raise aiokafka's KafkaError.
        """


GetProducer = Callable[[], RecordProducer]
"""The producer of a running job; there is none before it runs."""


def nothing() -> None:
    """For a job that holds nothing."""


@dataclass(frozen=True, slots=True)
class Job:
    """`topic` also tells whether the topic is still the one that it was. `close` lets go of what the job holds; blocks.

    After `close` nothing that was queued is done any more. `watch` knows what it works on, where that may take long.
    `meter` counts what it does.
    """

    client: LogClient
    group: str
    topic: TopicIdentity
    positions: Positions
    work: BatchWork
    close: Callable[[], None] = nothing
    watch: BatchWatch | None = None
    meter: JobMeter | None = None
