"""Where each group is in each partition, as numbers of the table itself, in the commit of the rows (invariant 4).

App ids, all beginning with `<group>/<topic id>`:
    /<partition>                the next offset, as Delta's exactly-once recipe wants it
    /<partition>#<counter>      generation, epoch, delivered, unrouted, repeats, refused
    /<partition>#mark/<raw>     the highest raw offset delivered of a raw topic id
    #partitions                 one more than the highest partition claimed
and, whatever the group, `rows/<raw topic id>/<raw partition>`: the highest raw offset that the table ever held.

deltalake reads a number by its app id and can't list them, so the raw topic ids are noted in the metadata of the column
`_raw_topic`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from clearwell.destinations.fencing import older_epoch, older_generation
from clearwell.destinations.lake.table import LakeTable
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, Start, counts_of
from clearwell.destinations.shape import RAW_TOPIC

NO_MARK = -1
"""The mark of a raw topic of which nothing counts as delivered."""

TOPICS = "clearwell.topics"
"""The key, in the metadata of the column `_raw_topic`, of the JSON list of raw topic ids."""


@dataclass(frozen=True, slots=True)
class TablePosition:
    """What the table says of one group and partition."""

    accounts: Accounts
    generation: int = 0
    epoch: int = 0
    high_watermarks: Mapping[str, int] = field(default_factory=dict)


class TablePositions:
    """The positions of one group in one table; call the methods inside `LakeTable.insist`, after `refresh`."""

    def __init__(self, table: LakeTable, group: str) -> None:
        self._table = table
        self._group = group

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """A new epoch, in a commit without rows. Raises Fenced on an older generation."""
        known = self._read(topic_id, partition)
        if known.generation > generation:
            kept_in = f"the app transaction {self._app(topic_id, partition)}#generation of {self._table.place.shown}"
            raise older_generation(self._group, partition, generation, kept_in)
        claimed = replace(known, generation=generation, epoch=known.epoch + 1)
        numbers = self._numbers(topic_id, claimed)
        count = f"{self._group}/{topic_id}#partitions"
        if partition >= (self._table.number(count) or 0):
            numbers[count] = partition + 1
        self._table.commit(None, numbers)
        return Claim(claimed.epoch, claimed.accounts.next_offset, dict(claimed.high_watermarks))

    def advance(self, batch: CleanBatch) -> dict[str, int]:
        """The numbers to commit with the rows of `batch`; {} when it was written before. Raises Fenced."""
        known = self._read(batch.topic_id, batch.partition)
        if known.epoch != batch.epoch:
            raise older_epoch(self._group, batch)
        if known.accounts.next_offset >= batch.next_offset:
            return {}
        was, more = known.accounts, counts_of(batch)
        counted = {name: getattr(was, name) + count for name, count in more.items()}
        moved = Accounts(batch.partition, batch.next_offset, **counted)
        return self._numbers(
            batch.topic_id, replace(known, accounts=moved, high_watermarks=dict(batch.high_watermarks))
        )

    def rewind(self, topic_id: str, start: Start) -> dict[str, int]:
        """The numbers of a new epoch at an earlier position; {} where it is that early already."""
        known = self._read(topic_id, start.accounts.partition)
        if known.accounts.next_offset <= start.accounts.next_offset:
            return {}
        high_watermarks = dict.fromkeys(known.high_watermarks, NO_MARK) | dict(
            start.high_watermarks
        )  # a number can't be taken away
        return self._numbers(
            topic_id, replace(known, accounts=start.accounts, epoch=known.epoch + 1, high_watermarks=high_watermarks)
        )

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """One entry for each partition that was claimed, by number."""
        count = self._table.number(f"{self._group}/{topic_id}#partitions") or 0
        claimed = [number for number in range(count) if self._table.number(self._app(topic_id, number)) is not None]
        return [self._read(topic_id, partition).accounts for partition in claimed]

    def _app(self, topic_id: str, partition: int) -> str:
        return f"{self._group}/{topic_id}/{partition}"

    def _read(self, topic_id: str, partition: int) -> TablePosition:
        app = self._app(topic_id, partition)
        next_offset = self._table.number(app)
        if next_offset is None:
            return TablePosition(Accounts(partition, 0))

        def counter(name: str) -> int:
            return self._table.number(f"{app}#{name}") or 0

        counts = {name: counter(name) for name in ("delivered", "unrouted", "repeats", "refused")}
        numbers = {topic: self._table.number(f"{app}#mark/{topic}") for topic in raw_topics(self._table)}
        high_watermarks = {topic: mark for topic, mark in numbers.items() if mark is not None and mark != NO_MARK}
        return TablePosition(
            Accounts(partition, next_offset, **counts), counter("generation"), counter("epoch"), high_watermarks
        )

    def _numbers(self, topic_id: str, position: TablePosition) -> dict[str, int]:
        """All of a position's numbers: setting them all makes any two writers of it conflict."""
        was = position.accounts
        app = self._app(topic_id, was.partition)
        counters = {"generation": position.generation, "epoch": position.epoch, "delivered": was.delivered}
        counters |= {"unrouted": was.unrouted, "repeats": was.repeats, "refused": was.refused}
        high_watermarks = {f"{app}#mark/{topic}": mark for topic, mark in position.high_watermarks.items()}
        return {app: was.next_offset, **{f"{app}#{name}": count for name, count in counters.items()}, **high_watermarks}


def held_up_to(raw_topic: str, raw_partition: int) -> str:
    """The app id of the highest raw offset the table ever held."""
    return f"rows/{raw_topic}/{raw_partition}"


def raw_topics(table: LakeTable) -> list[str]:
    """The raw topic ids that the version last read has rows or marks of."""
    column = next(field for field in table.fields() if field.name == RAW_TOPIC)
    topics: list[str] = json.loads(str(column.metadata.get(TOPICS, "[]")))
    return topics


def note_topics(table: LakeTable, topics: Sequence[str]) -> None:
    """Make sure that `topics` are among the table's raw topic ids; a commit of its own, once a topic."""
    table_now = table.refresh()
    known = raw_topics(table)
    news = [topic for topic in topics if topic not in known]
    if news:
        table_now.alter.set_column_metadata(RAW_TOPIC, {TOPICS: json.dumps([*known, *news])})
        table.refresh()
