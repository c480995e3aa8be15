"""What a job has lost to retention is noted in the registry, so that `clearwell status` tells it."""

from __future__ import annotations

import logging

from clearwell.errors import ClearwellError
from clearwell.kafka.log_client import LogClient
from clearwell.registry import Registry, losses

log = logging.getLogger(__name__)


class LossNotes:
    """Notes the losses of one consumer group in one topic; blocks.

    A registry that is away holds nothing up: the log told the loss, and the balance counts it in any case.
    """

    def __init__(self, client: LogClient, registry: Registry, topic: str, group: str) -> None:
        self._client = client
        self._registry = registry
        self._topic = topic
        self._group = group

    def __call__(self, partition: int, first: int, end: int) -> None:
        """Offsets [first, end) were gone. Raises nothing that has to do with servers."""
        try:
            loss = losses.Loss(str(self._client.topic_now(self._topic)), partition, first, end)
            with self._registry.session() as session:
                losses.record(session, self._group, loss)
        except ClearwellError as error:
            log.warning("`clearwell status` will not count this loss (`clearwell balance` does). %s", error)
