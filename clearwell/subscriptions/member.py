"""A model's place in its consumer group: what it holds, what it committed, and that it stays while the model works.

A thread of our own answers Kafka while the model is at work on a batch, however long: heartbeats go on, and when the
group changes the member joins anew, so that nobody waits for the model and what it holds stays its own. The same thread
leaves the group at the end: a garbage collector, a signal or the interpreter's exit asks it to and waits a moment at
most, so that no end of a program hangs in a client of Kafka.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearwell.errors import ClearwellError, ConfigError, Retryable
from clearwell.kafka.coverage import Coverage
from clearwell.kafka.group_consumer import GenerationEnded, MemberReplaced
from clearwell.kafka.lineage import EPOCH, TIME, UNKNOWN, Parted, Point, way_out
from clearwell.kafka.log_client import LogClient, log_of
from clearwell.kafka.names import model_group
from clearwell.records.duplicates import Duplicates
from clearwell.subscriptions.late import commit_late
from clearwell.subscriptions.memory import Memory
from clearwell.subscriptions.position import Position, resume

log = logging.getLogger(__name__)

POLL_MS = 500
STAY_S = 1.0
REJOIN_S = 90.0
LEAVE_S = 1.0
TELL_S = 600.0
"""A model at work on one batch for so long is told of, and again after twice as long, and so on."""


class PartitionLost(Retryable):
    """The partition was taken from this member before it committed; what it did not commit is delivered again."""


@dataclass(slots=True, eq=False)
class HeldPartition:
    """One assigned partition: the clean offset expected next, the highest one committed, and what was seen."""

    next: int
    committed: int
    duplicates: Duplicates
    epoch: int = UNKNOWN
    time: int = UNKNOWN
    """Leader epoch, and time of the record before `next`: whether the log is still the same (see `lineage.py`)."""

    def position(self, topic_id: str) -> Position:
        """Where it is now."""
        seen = {name: mark for name, mark in self.duplicates.high_watermarks.items() if name not in (EPOCH, TIME)}
        return Position(topic_id, self.next, seen | Point(self.next, self.epoch, self.time).high_watermarks)


class Member:
    """One consumer in the group `model.<name>`. Several threads may call it, one at a time is served."""

    def __init__(
        self,
        name: str,
        client: LogClient,
        topic: str,
        topic_id: str,
        *,
        max_rows: int,
        instance: str | None,
        memory: Memory | None = None,
    ) -> None:
        """Connects; joins the group at the first `poll`. Raises Retryable when Kafka does not answer."""
        self.name = name
        self.topic = topic
        self.topic_id = topic_id
        self._client = client
        self.instance = instance
        self._memory = memory
        self._unsaved: dict[int, Position] = {}
        self._log = log_of(client, topic)
        self.partitions: dict[int, HeldPartition] = {}
        self.generation = -1
        self.coverage = Coverage(client, model_group(name), topic)
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._at_work: tuple[int, float] | None = None  # partition of the batch that the model has, and since when
        self._tell_after = TELL_S
        self._leaving = threading.Event()
        self._left = threading.Event()
        self._consumer = client.consumer(
            model_group(name), topic, self._claims, instance=instance, max_records=max_rows
        )
        _open_members.add(self)
        _leave_at_exit()
        threading.Thread(target=self._stay, name=f"clearwell-{name}", daemon=True).start()

    @property
    def closed(self) -> bool:
        """Whether it has left the group, or is about to."""
        return self._leaving.is_set()

    def require_own_process(self) -> None:
        """Raises ConfigError in a child made by fork: it has the consumer's memory, but no thread of it."""
        if os.getpid() != self._process:
            raise ConfigError(
                f'The subscription "{self.name}" was opened before this process was forked: open it in the process '
                "that follows it."
            )

    def poll(self) -> dict[int, Sequence[Any]]:
        """Records by partition, after half a second at most; none when the group has changed hands meanwhile."""
        with self._lock:
            if self.closed:
                return {}
            self._at_work = None
            fetched = self._consumer.poll(POLL_MS)
            return {} if self._settle() else dict(fetched)

    def work(self, partition: int) -> None:
        """The model has a batch of this partition now: keep the place in the group for it."""
        self._at_work, self._tell_after = (partition, time.monotonic()), TELL_S

    def look_at_group(self) -> None:
        """Join again where a partition is held by no one: the group's leader, if that is us, then assigns anew.

        Only static members and those that hold nothing look; for the others' shares the leader has just assigned.
        """
        if self.generation < 0 or self.closed:
            return
        if self.instance is None and self.partitions:
            self.coverage.assume()
        elif self.coverage.lacks():
            self._consumer.rejoin()

    def commit(self, partition: int, held: HeldPartition, position: Position) -> None:
        """Move the group's position to `position`, if the lane is still ours. Raises PartitionLost, Retryable."""
        self.require_own_process()
        with self._lock:
            if position.offset <= held.committed:
                return
            if self.closed:  # the loop was left, and nobody has followed since
                done = commit_late(self._client, self.name, self.topic, partition, held.committed, position)
            else:
                done = self._commit(partition, held, position)
            if not done:
                raise self._lost(partition)
            held.committed = position.offset
            self._unsaved[partition] = position
        if self._left.is_set():  # nobody else is there to do it
            self._remember_at_last()

    def trace(self, epochs: Mapping[int, int]) -> None:
        """Raise Parted where the log is no longer the one that was read, given the leader epochs now; or Retryable."""
        for partition, held in self.partitions.items():
            epoch = epochs.get(partition, held.epoch)
            end = self._log.parted_at(partition, Point(held.next, held.epoch, held.time), epoch)
            if end is not None:
                raise Parted(self.topic, partition, end, held.next, way_out(self.topic.split(".")[1]))
            held.epoch = epoch

    def close(self, wait_s: float = LEAVE_S) -> None:
        """Leave the group, so that others take the partitions over at once; waits for that, `wait_s` at most."""
        self._leaving.set()
        if os.getpid() == self._process and not sys.is_finalizing() and not _is_our_thread():
            self._left.wait(wait_s)

    def _claims(self) -> list[int]:
        at_work = self._at_work
        first = [at_work[0]] if at_work else []
        return first + [partition for partition in sorted(self.partitions) if partition not in first]

    def _stay(self) -> None:
        """The thread: while the model works, answer the group; at the end, leave it."""
        while not self._leaving.wait(STAY_S):
            if self._at_work is not None:
                with self._lock:
                    self._answer()
                self._tell()
            self._remember()
        with self._lock, contextlib.suppress(Exception):  # a consumer that can't say good-bye is thrown out by Kafka
            self._consumer.close()
        self._remember()
        _open_members.discard(self)
        self._left.set()
        self._remember_at_last()

    def _remember(self) -> None:
        """Let the registry know what was committed since the last time."""
        with self._lock:
            positions, self._unsaved = self._unsaved, {}
        if positions and self._memory is not None and not self._memory.try_to_store(self.topic_id, positions):
            with self._lock:
                self._unsaved = positions | self._unsaved

    def _remember_at_last(self) -> None:
        """As `_remember`, and let go of the registry; the thread does it, and then each late commit."""
        self._remember()
        if self._memory is not None:
            self._memory.close()

    def _committed(self, partition: int) -> tuple[int, str] | None:
        """What the group has committed or, where Kafka has forgotten it, what the registry remembers of it."""
        known = self._consumer.committed(partition)
        if known is not None or self._memory is None:
            return known
        recalled = self._memory.recall(self.topic_id).get(partition)
        if recalled is not None:
            log.warning(
                "Kafka has forgotten where %s stood in partition %d of %s; it goes on at %d, as the registry says",
                model_group(self.name), partition, self.topic, recalled[0],
            )  # fmt: skip
        return recalled

    def _answer(self) -> None:
        """Say that we live, and join anew if the group is about to change hands."""
        if self.closed:
            return
        try:
            self._consumer.stay()
            self._settle()
        except ClearwellError as error:  # Kafka may be back before the model is done; if not, `commit` and `poll` tell
            log.debug("%s", error)

    def _tell(self) -> None:
        at_work = self._at_work
        if at_work is not None and time.monotonic() - at_work[1] > self._tell_after:
            log.warning(
                "%s has been at work on a batch of partition %d of %s for %.0f minutes; partitions %s wait for it",
                model_group(self.name), at_work[0], self.topic, self._tell_after / 60, sorted(self.partitions),
            )  # fmt: skip
            self._tell_after *= 2

    def _settle(self) -> bool:
        """After the group has changed hands: each partition that is new to us goes on where the group has committed.

        What we keep goes on where we are, unless someone has committed since. True when something has changed.
        """
        generation, assigned = self._consumer.generation, self._consumer.assignment()
        # A poll may end between the new generation and its partitions, so both are looked at.
        if generation == self.generation and set(assigned) == self.partitions.keys():
            return False
        if generation < 0:  # thrown out: what is ours shows when we have joined again
            self.generation = -1
            return True
        self.coverage.forget()
        self.partitions = self._taken_over(assigned)
        self.generation = generation
        return True

    def _taken_over(self, assigned: Sequence[int]) -> dict[int, HeldPartition]:
        begins = self._client.begin_offsets(self.topic) if assigned else {}
        partitions = {}
        for partition in assigned:
            position = resume(self._committed(partition), self.topic_id)
            held = self.partitions.get(partition)
            if held is None or held.committed != position.offset:
                held = HeldPartition(
                    max(position.offset, begins[partition]), position.offset, Duplicates(position.high_watermarks)
                )
                point = Point.of(position.offset, position.high_watermarks)
                held.epoch, held.time = point.epoch, point.time
                self.warn_of_gap(partition, position.offset, held.next)
            self._consumer.seek(partition, held.next)
            partitions[partition] = held
        return partitions

    def _commit(self, partition: int, held: HeldPartition, position: Position) -> bool:
        """The generation may be over although the partition is still ours: then it is committed in the next one."""
        until = time.monotonic() + REJOIN_S
        while True:
            try:
                self._consumer.join_next_generation()
                self._settle()
                if self.partitions.get(partition) is not held:
                    return False
                self._consumer.commit({partition: position.stored()})
                return True
            except MemberReplaced:
                return False
            except GenerationEnded:
                if time.monotonic() > until:
                    return False

    def _lost(self, partition: int) -> PartitionLost:
        return PartitionLost(
            f"Partition {partition} of {self.topic} was taken from this member of {model_group(self.name)} before the "
            "batch was committed: undo what the model did with it, its events are delivered again."
        )

    def warn_of_gap(self, partition: int, expected: int, first: int) -> None:
        """Tell what was removed before the model has read it."""
        if first > expected:
            log.warning(
                "%s: partition %d: offsets %d to %d are gone (retention) before %s read them",
                self.topic, partition, expected, first - 1, model_group(self.name),
            )  # fmt: skip


_open_members: set[Member] = set()


def _is_our_thread() -> bool:
    """Whether waiting would be for ourselves: garbage may be collected in our thread, or in one of Kafka's clients."""
    return threading.current_thread().name.startswith(("clearwell-", "kafka-io-"))


def close_all() -> None:
    """Leave all groups, within a second or so; at the interpreter's exit, before its threads are frozen."""
    members, until = list(_open_members), time.monotonic() + LEAVE_S
    for member in members:
        member.close(wait_s=0)
    for member in members:
        member.close(wait_s=max(until - time.monotonic(), 0))


@functools.cache
def _leave_at_exit() -> None:
    atexit.register(close_all)
