"""Dead letters out of their topic into Postgres, sealed as they are; acknowledged when Postgres has them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor

from clearwell.backoff import retry_until_available
from clearwell.dead_letters.verify import DeadTopicVerifier
from clearwell.registry import Registry, dead_letter_intake
from clearwell.registry.dead_letter_intake import CopiedDeadLetter, Intake
from clearwell.worker.gaps import Gaps
from clearwell.worker.partition_processor import FetchedBatch
from clearwell.worker.topic_identity import TopicIdentity

log = logging.getLogger(__name__)


class DeadLetterCopier:
    """Copies one stream's dead letters. See `clearwell.worker.partition_processor.BatchWork` for how it is driven."""

    def __init__(self, verifier: DeadTopicVerifier, registry: Registry, identity: TopicIdentity, gaps: Gaps) -> None:
        self._verifier = verifier
        self._registry = registry
        self._identity = identity
        self._gaps = gaps
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dead-letters")  # in order: one transaction at a time

    async def begin(self, partition: int, first: int, generation: int) -> None:
        """Nothing is remembered of a partition: what comes twice changes nothing."""
        log.info("partition %d starts at offset %d (generation %d)", partition, first, generation)

    async def skip(self, partition: int, expected: int, first: int) -> None:
        """What was gone before it was copied is reported."""
        await self._gaps.look(partition, expected, first)

    async def handle(self, fetched: FetchedBatch) -> Awaitable[None]:
        """Verify a batch and queue its transaction."""
        topic_id = await self._identity.confirm()  # invariant 3
        copies = self._verifier.verify(topic_id, fetched.partition, fetched.records)
        foreign = sum(not copy.ours for copy in copies)
        if foreign:
            log.warning(
                "partition %d: %d of the records at offsets %d to %d are no dead letters of ours; kept as such.",
                *(fetched.partition, foreign, fetched.first, fetched.last),
            )
        return asyncio.get_running_loop().run_in_executor(self._thread, self._store, fetched.partition, copies)

    def close(self) -> None:
        """What is queued is not copied any more."""
        self._closing.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _store(self, partition: int, copies: Sequence[CopiedDeadLetter]) -> None:
        """Durable when it returns (invariant 2): only then is the batch acknowledged."""
        _log(partition, retry_until_available(lambda: self._add(copies), pause=self._closing.wait))

    def _add(self, copies: Sequence[CopiedDeadLetter]) -> Intake:
        with self._registry.connection() as connection:
            return dead_letter_intake.add(connection, copies)


def _log(partition: int, intake: Intake) -> None:
    if intake.new or intake.rejected_again:
        log.info(
            "partition %d: %d new dead letters, %d replays that were rejected again, %d duplicates",
            *(partition, intake.new, intake.rejected_again, intake.duplicates),
        )
