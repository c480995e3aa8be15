"""One job of a worker: a consumer group over one topic, where its partitions start, and what it does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from clearwell.kafka.log_client import LogClient
from clearwell.kafka.message_format import AnyRecord
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


class Companion(Protocol):
    """What goes along with a job."""

    async def run(self) -> None:
        """Runs beside the job until it is cancelled; what it raises ends the process."""

    def report_failure(self, error: BaseException) -> None:
        """The process ends by `error`, as soon as this returns."""


@dataclass(frozen=True, slots=True)
class Job:
    """`topic` also tells whether the topic is still the one that it was. `meter` counts what it does."""

    client: LogClient
    group: str
    topic: TopicIdentity
    positions: Positions
    work: BatchWork
    companion: Companion | None = None
    meter: JobMeter | None = None
