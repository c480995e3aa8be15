"""What the demo shows while it runs: all stages at one moment, and the dead letters so far by reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from clearwell.control.stages import Stage
from clearwell.kafka.log_client import RangeReader
from clearwell.kafka.names import dead_topic
from clearwell.records import dead_letter


@dataclass(slots=True)
class Snapshot:
    """All stages at one moment, and the dead letters so far by reason."""

    stages: list[Stage] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """No stage waits for anything."""
        return not any(stage.lag for stage in self.stages)

    def done(self, name: str) -> int:
        """Events of one stage."""
        return next(stage.done for stage in self.stages if stage.name == name)


class DeadLetters:
    """Counts new dead letters of raw events by reason, reading each only once."""

    def __init__(self, log: RangeReader, stream: str, ends: Callable[[], dict[int, int]]) -> None:
        self._log = log
        self._topic = dead_topic(stream)
        self._ends = ends
        self._read: dict[int, int] = {}
        self.reasons: dict[str, int] = {}

    async def update(self) -> None:
        """Read what came since the last call."""
        for partition, end in self._ends().items():
            async for records in self._log.records(self._topic, partition, self._read.get(partition, 0), end):
                for letter in dead_letter.known(records):
                    if letter.destination:  # a clean event, that one destination refused
                        continue
                    self.reasons[letter.reason] = self.reasons.get(letter.reason, 0) + 1
            self._read[partition] = end
