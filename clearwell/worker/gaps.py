"""What retention removed before a reader came to it: told in the log, whoever the reader is.

A log has holes of other kinds too: markers of transactions, and what was aborted. Those lie after the oldest record
that the topic still holds; what retention took lies before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from clearwell.kafka.log_client import LogClient

log = logging.getLogger(__name__)


NoteLoss = Callable[[int, int, int], None]
"""Takes note of a partition's offsets from a first one to before an end."""


class Gaps:
    """The gaps that one consumer group meets in one topic."""

    def __init__(
        self,
        client: LogClient,
        topic: str,
        group: str,
        note: NoteLoss,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`note` keeps a loss for the status, and may block; `tell` hears it as a sentence."""
        self._client = client
        self._topic = topic
        self._group = group
        self._note = note
        self._tell = tell
        self.lost = 0
        """Offsets that were gone, since this process began."""

    async def look(self, partition: int, expected: int, first: int) -> int:
        """The end of what retention removed of [expected, first): `expected` where it removed nothing.

        Raises Retryable when Kafka does not answer.
        """
        if first <= expected:
            return expected
        begins = await asyncio.to_thread(self._client.begin_offsets, self._topic)
        end = max(expected, min(first, begins.get(partition, 0)))
        if end > expected:
            self.lost += end - expected
            text = (
                f"{self._topic}, partition {partition}: offsets {expected} to {end - 1} were removed by retention "
                f"before {self._group} read them: they are lost to it. `clearwell balance` counts them; keep the topic "
                "longer (retention.ms), or find out what held it up."
            )
            log.warning("%s", text)
            self._tell(text)
            await asyncio.to_thread(self._note, partition, expected, end)
        return end
