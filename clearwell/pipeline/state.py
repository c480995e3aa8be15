"""What a pipeline remembers of one partition. It is a function of the raw log and can always be rebuilt from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from clearwell.errors import Fatal
from clearwell.pipeline.batch import RawBatch


class StepMemory(Protocol):
    """What one step remembers; `turn` is called with the first offset of each batch, to forget what is out of reach."""

    def turn(self, offset: int) -> None: ...


class PipelineState:
    """The memories of all steps for one partition of one incarnation of the raw topic (invariant 3).

    A batch of another incarnation starts afresh. One partition, one state, one thread.
    """

    __slots__ = ("_make", "_topic_id", "memories", "next_offset")

    def __init__(self, make: Sequence[Callable[[], StepMemory]]) -> None:
        self._make = make
        self._topic_id: str | None = None
        self.memories: list[StepMemory] = []
        self.next_offset = 0

    def admit(self, batch: RawBatch) -> None:
        """Make ready for `batch`. Raises Fatal when it goes back: a repeat would look like its own duplicate."""
        if batch.topic_id != self._topic_id:
            self._topic_id, self.next_offset = batch.topic_id, 0
            self.memories = [make() for make in self._make]
        first = batch.offsets[0]
        if first < self.next_offset:
            raise Fatal(
                f"Raw partition {batch.partition} went back from offset {self.next_offset} to {first}: "
                "start again with a new state and its lookback."
            )
        for memory in self.memories:
            memory.turn(first)
        self.next_offset = batch.offsets[-1] + 1
