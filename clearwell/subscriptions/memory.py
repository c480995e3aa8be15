"""What the registry remembers of a model's positions: nothing is learnt twice where Kafka has forgotten its group."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from clearwell.errors import ClearwellError
from clearwell.registry import Registry, subscription_positions
from clearwell.subscriptions.position import Position

log = logging.getLogger(__name__)


class Memory:
    """The positions of one subscription. Thread-safe; connects again when it is used after `close`."""

    def __init__(self, registry: Registry, name: str) -> None:
        """Does no I/O; `registry` is its own, and closed with it."""
        self._registry = registry
        self._lock = threading.Lock()  # a connection that is in use would outlive `close`
        self._name = name
        self._away = False

    def recall(self, topic_id: str) -> dict[int, tuple[int, str]]:
        """By partition what was committed last in this incarnation of the clean topic. Raises as the registry does."""
        with self._lock, self._registry.session() as session:
            return subscription_positions.load(session, self._name, topic_id)

    def store(self, topic_id: str, positions: Mapping[int, Position]) -> None:
        """Remember what is committed. Raises as the registry does."""
        stored = {partition: position.stored() for partition, position in positions.items()}
        with self._lock, self._registry.session() as session:
            subscription_positions.save(session, self._name, topic_id, stored)

    def try_to_store(self, topic_id: str, positions: Mapping[int, Position]) -> bool:
        """As `store`; a registry that is away is told of once, and stops no model. Whether it was done."""
        try:
            self.store(topic_id, positions)
        except ClearwellError as error:
            if not self._away:
                log.warning(
                    "Where %s stands is remembered by Kafka alone until the registry is back. %s", self._name, error
                )
            self._away = True
            return False
        self._away = False
        return True

    def close(self) -> None:
        """Let go of the registry; calling it again is harmless."""
        with self._lock:
            self._registry.close()
