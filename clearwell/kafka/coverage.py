"""Whether each partition is held by a member of the group, for the leader may have died before it could give them out.

A static member that comes back is handed the assignment that the broker has stored, without a rebalance, and is not
told that it is the leader (KIP-814). If the leader was killed when it had stored an assignment made without knowing
the topic, or while partitions were added, no one would ever assign what is missing.
"""

from __future__ import annotations

import logging
import time

from clearwell.errors import Retryable
from clearwell.kafka.log_client import LogClient

log = logging.getLogger(__name__)

LOOK_S = 1.0
LOOK_AGAIN_S = 5.0


class Coverage:
    """What one member knows of its group; a member that holds nothing of a complete group is a spare one."""

    def __init__(self, client: LogClient, group: str, topic: str) -> None:
        """Knows nothing yet."""
        self._client = client
        self._group = group
        self._topic = topic
        self._due = 0.0
        self.complete = False

    def forget(self) -> None:
        """The group has changed: look anew at once."""
        self.complete, self._due = False, 0.0

    def assume(self) -> None:
        """What the group holds is another member's to look after."""
        self.complete = True

    def lacks(self) -> bool:
        """Look, if it is due: whether the group is stable and a partition is held by no member of it."""
        if time.monotonic() < self._due:
            return False
        try:
            missing = self._client.unheld(self._group, self._topic)
        except Retryable:  # asked again soon; what was known before stands
            missing = None
        else:
            self.complete = missing == set()
        self._due = time.monotonic() + (LOOK_AGAIN_S if self.complete else LOOK_S)
        if missing:
            log.warning("%s: no member of %s holds partitions %s; sharing out anew",
                        self._topic, self._group, sorted(missing))  # fmt: skip
        return bool(missing)
