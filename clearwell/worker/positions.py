"""Where partitions start when the consumer group is the truth (the cleaner), and what stands beside its offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka.structs import OffsetAndMetadata
from faust.types import TP

from clearwell.kafka.lineage import UNKNOWN, Point
from clearwell.worker.topic_identity import TopicIdentity
from clearwell.worker.transport import Commit


@dataclass(frozen=True, slots=True)
class CommitNote:
    """What a group stores beside an offset: for which incarnation of the topic it is, and how it was reached.

    `branches` are origins that the events have from an offset on, instead of the topic's id, oldest first: each came
    with a log that had parted (see `lineage.py`).
    """

    topic_id: str
    epoch: int = UNKNOWN
    time: int = UNKNOWN
    branches: Sequence[tuple[str, int]] = field(default=())

    def __str__(self) -> str:
        return " ".join([self.topic_id, str(self.epoch), str(self.time), *(f"{a}@{b}" for a, b in self.branches)])

    @classmethod
    def read(cls, text: str | None) -> CommitNote:
        """The note in a commit; one of before there were epochs, or of a person, says less."""
        topic_id, *rest = (text or "").split(" ") if text else [""]
        try:
            epoch, time, *branches = rest
            pairs = [branch.rsplit("@", 1) for branch in branches]
            return cls(topic_id, int(epoch), int(time), tuple((origin, int(first)) for origin, first in pairs))
        except ValueError:
            return cls(topic_id)

    @property
    def origin(self) -> str:
        """What the next event bears as its raw topic's id."""
        return self.branches[-1][0] if self.branches else self.topic_id

    def origin_at(self, offset: int) -> str:
        """What the event bears that is at an offset now."""
        return next((origin for origin, first in reversed(self.branches) if first <= offset), self.topic_id)


class GroupPositions:
    """The group's committed offset, if it was committed for this incarnation of the topic; else the beginning.

    The topic's id is stored beside each offset, so a commit that was under way while the topic was recreated can't make
    the new one start in its middle (invariant 3).
    """

    def __init__(self, identity: TopicIdentity) -> None:
        self.identity = identity
        self._notes: dict[int, CommitNote] = {}
        self.points: dict[int, Point] = {}
        self.known: dict[int, int | None] = {}
        """By partition, where the group stood when it was assigned; None: it had committed nothing for this topic."""

    async def start(
        self, committed: Mapping[TP, OffsetAndMetadata | None], generation: int, commit: Commit
    ) -> Mapping[TP, int]:
        """See `clearwell.worker.transport.Positions`."""
        topic_id = await self.identity.refresh()
        notes = {tp: CommitNote.read(known.metadata) for tp, known in committed.items() if known is not None}
        ours = {tp: committed[tp].offset for tp, note in notes.items() if note.topic_id == topic_id}  # type: ignore[union-attr]
        self.known = {tp.partition: ours.get(tp) for tp in committed}
        self._notes = {tp.partition: notes[tp] if tp in ours else CommitNote(topic_id) for tp in committed}
        at_notes = {tp.partition: (ours.get(tp, 0), self._notes[tp.partition]) for tp in committed}
        self.points = {at: Point(offset, note.epoch, note.time) for at, (offset, note) in at_notes.items()}
        await self.identity.resume(self.points)
        return {tp: self.known[tp.partition] or 0 for tp in committed}

    def metadata(self, tp: TP) -> str:
        """A `CommitNote`."""
        lineage = self.identity.lineage
        point = Point(0) if lineage is None else lineage.point(tp.partition)
        known = self._notes.get(tp.partition, CommitNote(self.identity.id))
        return str(CommitNote(self.identity.id, point.epoch, point.time, known.branches))

    def branched_at(self, partition: int) -> int:
        """The offset from which on events have that origin."""
        known = self._notes.get(partition)
        return known.branches[-1][1] if known is not None and known.branches else 0

    def origin(self, partition: int) -> str:
        """What the next events of a partition bear as their raw topic's id."""
        known = self._notes.get(partition)
        return self.identity.id if known is None else known.origin
