"""What a service has lost to retention is noted in the registry, so that `clearwell status` tells it."""

from __future__ import annotations

import logging
from contextlib import closing

from clearwell.errors import ClearwellError
from clearwell.kafka import admin
from clearwell.settings import Settings

log = logging.getLogger(__name__)


class LossNotes:
    """Notes the losses of one consumer group in one topic; blocks.

    A registry that is away holds nothing up: the log told the loss, and the balance counts it in any case.
    """

    def __init__(self, settings: Settings, topic: str, group: str) -> None:
        self._settings = settings
        self._topic = topic
        self._group = group

    def __call__(self, partition: int, first: int, end: int) -> None:
        """Offsets [first, end) were gone. Raises nothing that has to do with servers."""
        from clearwell.registry import Registry, losses  # 15 MB of SQLAlchemy that a cleaner hardly ever needs

        try:
            loss = losses.Loss(str(admin.topic_id(self._settings.kafka, self._topic)), partition, first, end)
            with closing(Registry(self._settings.postgres)) as registry, registry.session() as session:
                losses.record(session, self._group, loss)
        except ClearwellError as error:
            log.warning("`clearwell status` will not count this loss (`clearwell balance` does). %s", error)
