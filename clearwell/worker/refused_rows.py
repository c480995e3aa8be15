"""Rows that one destination can't take, as dead letters of that destination alone (invariant 5)."""

from __future__ import annotations

import asyncio
import logging

from aiokafka.errors import KafkaError

from clearwell.contract.model import Contract
from clearwell.destinations.protocol import CleanBatch, RowsRefused
from clearwell.errors import Fatal
from clearwell.kafka.message_format import Record
from clearwell.kafka.names import dead_topic
from clearwell.privacy.keyring import Keyring
from clearwell.records.dead_letter import DELIVER, DeadLetter, DeadLetterWriter
from clearwell.records.recent_history import RecentHistory
from clearwell.worker.job import GetProducer
from clearwell.worker.rejection_limit import RejectionCounter

log = logging.getLogger(__name__)


class RefusedRows:
    """Writes the dead letters of one destination, and stops when there are too many of them (invariant 6)."""

    def __init__(
        self,
        destination: str,
        contract: Contract,
        keyring: Keyring,
        tail: RecentHistory,
        producer: GetProducer,
    ) -> None:
        """To be made inside the event loop. Raises Fatal when there is no key to seal with."""
        self._destination = destination
        self._contract = contract
        self._writer = DeadLetterWriter(contract, keyring)
        self._topic = dead_topic(contract.stream)
        self._tail = tail
        self._producer = producer
        self._loop = asyncio.get_running_loop()
        self._rules: dict[int, RejectionCounter] = {}
        self._told = (
            f"refused by {destination}. Look at the dead letters, then fix the destination or the contract (or its "
            "`limits`) and start the deliverer again"
        )

    async def begin(self, partition: int, topic_id: str, first: int) -> None:
        """A partition of the clean topic starts at offset `first`: rebuild the stop rule's window from the log."""
        start = first - self._contract.limits.of_last
        known = await self._tail.refused_offsets(self._destination, partition, topic_id, start, first)
        self._rules[partition] = RejectionCounter(
            self._contract.limits, self._told, first, [(offset, "") for offset in known]
        )

    def dead_letter(self, batch: CleanBatch, error: RowsRefused) -> None:
        """Return when Kafka has acknowledged the dead letter of `batch`'s one row. Not for the event loop's thread.

        Raises Fatal when the stop rule says so, before it is sent, and when Kafka does not take it.
        """
        (offset,) = batch.offsets
        self._rules[batch.partition].count(offset, [(offset, "")])
        letter = DeadLetter(
            stream=self._contract.stream,
            version=self._contract.version,
            destination=self._destination,
            origin_topic_id=batch.raw_topics[0],
            raw_partition=batch.partition,
            raw_offset=batch.raw_offsets[0],
            reason=error.reason,
            step=DELIVER,
            field="",
            clean_topic_id=batch.topic_id,
            clean_offset=offset,
        )
        record = self._writer.refused(letter, batch.values[0])
        asyncio.run_coroutine_threadsafe(self._send(batch.partition, record), self._loop).result()
        log.warning(
            "%s refused the event at offset %d of partition %d (%s): it is a dead letter now. %s",
            self._destination, offset, batch.partition, error.reason, error,
        )  # fmt: skip

    async def _send(self, partition: int, letter: Record) -> None:
        try:
            for future in await self._producer().send_records(self._topic, partition, [letter]):
                await future
        except KafkaError as error:  # after the producer's own retries: the event is read again (invariant 2)
            raise Fatal(f"Kafka did not take a dead letter of {self._destination} ({type(error).__name__}).") from None
