"""Consumer groups of a log in memory: members share a topic, and a generation ends when one comes or goes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clearwell.kafka.group_consumer import GenerationEnded, MemberReplaced
from clearwell.kafka.shares_assignor import shares

if TYPE_CHECKING:
    from clearwell.testing.memory_log import MemoryLog

NOTHING_NEW_SECONDS = 0.001
"""How long a poll waits that finds nothing: records come from the same process, so nobody is waited for."""

_numbers = itertools.count(1)


class MemoryGroup:
    """The members of one group, which all read one topic; to be used under the log's lock."""

    def __init__(self) -> None:
        self.generation = 0
        self.members: dict[str, MemoryConsumer] = {}
        self.assignment: dict[str, list[int]] = {}

    def join(self, member: MemoryConsumer, partitions: int) -> None:
        """Take a member in; one that has the same name for its process takes the place of the one before."""
        self.members[member.id] = member
        self.rebalance(partitions)

    def leave(self, member: MemoryConsumer, partitions: int) -> None:
        """Share the member's partitions out; harmless where it is no member any more."""
        if self.members.get(member.id) is member:
            del self.members[member.id]
            self.rebalance(partitions)

    def rebalance(self, partitions: int) -> None:
        """Begin a generation."""
        self.generation += 1
        claims = {name: member.claims() for name, member in self.members.items()}
        self.assignment = shares(range(partitions), claims) if claims else {}


class MemoryConsumer:
    """One member of a group; see `clearwell.kafka.group_consumer.GroupConsumer`."""

    def __init__(
        self,
        log: MemoryLog,
        group: str,
        topic: str,
        claims: Callable[[], Sequence[int]] = tuple,
        *,
        instance: str | None = None,
        max_records: int = 5_000,
    ) -> None:
        """Joins at the first `poll`. `claims` are the partitions that it would keep, the dearest first."""
        self.id = instance or f"member-{next(_numbers)}"
        self.claims = claims
        self._static = instance is not None
        self._log = log
        self._name = group
        self._topic = topic
        self._group = log.group(group)
        self._joined = False
        self._max_records = max_records
        self._next: dict[int, int] = {}

    @property
    def generation(self) -> int:
        """The group's generation; -1 while this is no member of it."""
        return self._group.generation if self._group.members.get(self.id) is self else -1

    def assignment(self) -> list[int]:
        """The partitions that are ours now, sorted."""
        with self._log.lock:
            return self._group.assignment.get(self.id, []) if self.generation >= 0 else []

    def poll(self, timeout_ms: int) -> dict[int, Sequence[Any]]:
        """Join where it has not; records by partition from where it stands."""
        with self._log.lock:
            if not self._joined:
                self._joined = True
                self._group.join(self, len(self._log.topic(self._topic).partitions))
                return {}
            fetched = {at: records for at in self.assignment() if (records := self._fetch(at))}
        if not fetched:
            time.sleep(NOTHING_NEW_SECONDS)
        return fetched

    def _fetch(self, number: int) -> Sequence[Any]:
        partition = self._log.partition(self._topic, number)
        records = partition.read(self._next.get(number, 0), partition.end, self._max_records)
        if records:
            self._next[number] = records[-1].offset + 1
        return records

    def committed(self, partition: int) -> tuple[int, str] | None:
        """What the group has committed."""
        return self._log.committed(self._name, self._topic).get(partition)

    def seek(self, partition: int, offset: int) -> None:
        """Read on from there."""
        self._next[partition] = offset

    def commit(self, offsets: Mapping[int, tuple[int, str]]) -> None:
        """Store for the group. Raises MemberReplaced or GenerationEnded where this is no member."""
        with self._log.lock:
            if self.generation < 0:
                raise MemberReplaced if self._static else GenerationEnded
            self._log.store(self._name, self._topic, offsets)

    def stay(self) -> None:
        """Heartbeats go by themselves."""

    def join_next_generation(self) -> None:
        """Generations change hands at once."""

    def rejoin(self) -> None:
        """Have the partitions shared out anew."""
        with self._log.lock:
            self._group.rebalance(len(self._log.topic(self._topic).partitions))

    def close(self) -> None:
        """Leave the group; one that has a name for its process keeps its partitions, until it is back."""
        with self._log.lock:
            if not self._static:
                self._group.leave(self, len(self._log.topic(self._topic).partitions) if self._joined else 0)
