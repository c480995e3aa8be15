"""A model that follows the clean topic on a thread of its own while the demo runs."""

from __future__ import annotations

import threading

import clearwell
from clearwell.demo.model import DelayModel


class Follower(threading.Thread):
    """Learns from every batch of a subscription, and commits it, until `finish` is called and nothing is left."""

    def __init__(self, name: str) -> None:
        """`name` is a registered subscription."""
        super().__init__(name=f"follower-{name}", daemon=True)
        self._subscription = name
        self._finishing = threading.Event()
        self.model = DelayModel()
        self.events = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        """What the README shows, with an end to it."""
        try:
            with clearwell.subscription(self._subscription, idle=0.5) as batches:
                while not self._finishing.is_set():
                    for batch in batches:
                        self.model.learn(batch.dicts())
                        batch.commit()
                        self.events += len(batch)
        except Exception as error:  # told by the thread that waits for us
            self.failure = error

    def finish(self) -> None:
        """End when the subscription is idle; wait for that. Raises what ended the thread early."""
        self._finishing.set()
        self.join()
        if self.failure is not None:
            raise self.failure
