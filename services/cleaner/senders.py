"""Who sent what was rejected, and how one connector that sends too much of it is stopped without its neighbours."""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from clearwell.backoff import delays
from clearwell.errors import Retryable
from clearwell.pipeline.batch import Rejected
from clearwell.records.cloudevents import connector_of

log = logging.getLogger(__name__)


def senders_of(records: Sequence[Any], rejected: Sequence[Rejected]) -> dict[int, str]:
    """By raw offset, the connector that each rejected event of fetched `records` (in offset order) came from."""
    senders = {}
    for event in rejected:
        record = records[bisect_left(records, event.offset, key=lambda record: record.offset)]
        senders[event.offset] = connector_of(record.headers)
    return senders


class Senders:
    """The connectors of one stream."""

    def __init__(self, postgres: str, stream: str) -> None:
        """`postgres` is the registry's URL; nothing is asked of it before somebody must be stopped."""
        self._postgres = postgres
        self._stream = stream

    async def stop(self, connector: str, why: str) -> bool:
        """Have a connector read no more until a person resumes it; whether that is enough.

        It is not where the stream has no other connector: then the stream itself stops, before it fills the dead
        letters with what a wrong contract rejects. A registry that is away is waited for (invariant 6).
        """
        for wait in delays():
            try:
                return await asyncio.to_thread(self._stop, connector, why)
            except Retryable as error:
                log.warning("%s Trying again in %.1f s.", error, wait)
                await asyncio.sleep(wait)
        raise AssertionError("delays() is endless")

    def _stop(self, connector: str, why: str) -> bool:
        from clearwell.registry import Registry, connectors  # 15 MB of SQLAlchemy that a cleaner hardly ever needs

        with closing(Registry(self._postgres)) as registry, registry.session() as session:
            known = {
                connector.name for connector in connectors.list_connectors(session) if connector.stream == self._stream
            }
            if connector not in known or len(known) == 1:
                return False
            connectors.note_end(session, connector, connectors.State.FAILING, why)
            return True
