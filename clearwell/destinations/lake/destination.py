"""The lake: each clean event once, in a Delta table by event date, readable by DuckDB, Polars and Spark without us.

Rows, position and accounts are one commit (`positions.py`). Rows above the highest raw offset that the table ever
held are appended as they are; others, those of a replay, only where the table has no row of their raw identity.
Measured: 8 to 20 ms an append of 10,000 rows; small ones wait for each other (`upkeep.py`), so files stay large.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.lake.columns import EVENT_DATE, TAKEN, columns_of, table_columns
from clearwell.destinations.lake.options import LakeOptions
from clearwell.destinations.lake.positions import TablePositions, held_up_to, note_topics
from clearwell.destinations.lake.root import LakeConfig, Root, TableLocation
from clearwell.destinations.lake.table import LakeTable
from clearwell.destinations.lake.upkeep import NO_PACE, CommitPace, TableUpkeep
from clearwell.destinations.protocol import Accounts, Claim, CleanBatch, DestinationConfig, DestinationContext, Start
from clearwell.destinations.shape import NAME_RULE, RAW_OFFSET, RAW_PARTITION, RAW_TOPIC, check_schema, is_name
from clearwell.errors import ConfigError

FOLDER = "lake"
"""The folder of clean tables, below a lake's root."""


class LakeDestination:
    """One Delta table; see `clearwell.destinations.protocol.Destination` for what each method promises."""

    kind: ClassVar[str] = "lake"
    Config: ClassVar[type[DestinationConfig]] = LakeConfig
    Options: ClassVar[type[RouteOptions]] = LakeOptions
    keeps_history: ClassVar[bool] = True
    registered: ClassVar[bool] = True
    redelivers: ClassVar[bool] = False

    def __init__(self, location: TableLocation, schema: CleanSchema, group: str, pace: CommitPace = NO_PACE) -> None:
        """Raises ConfigError when a name or type of the schema can't be a column."""
        check_schema(schema, TAKEN)
        _check_case(schema)
        self._schema = schema
        self._table = LakeTable(location, table_columns(schema), EVENT_DATE)
        self._positions = TablePositions(self._table, group)
        self._topics: set[str] = set()  # noted in the table already
        self._upkeep = TableUpkeep(location, pace)

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """The platform's own lake, or a registered one."""
        name = context.options.table or f"{context.schema.stream}_v{context.schema.version}"
        if context.options.table is not None and not is_name(name):
            raise ConfigError(f'"{name}" can\'t be the name of a table: use {NAME_RULE}.')
        location = Root.of(context.settings, context.config).table(FOLDER, name)
        return cls(location, context.schema, context.group, CommitPace.of())

    def open(self) -> None:
        """Create or widen the table."""
        self._table.prepare()

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """A commit of its own: a write of the previous owner that is under way comes before it, or conflicts."""

        def attempt() -> Claim:
            self._table.refresh()
            return self._positions.claim(topic_id, partition, generation)

        return self._table.insist(f"claim partition {partition}", attempt)

    def write(self, batch: CleanBatch) -> None:
        """One commit. After Retryable the same batch may be written again: the position in the table tells."""

        def attempt() -> None:
            self._note(batch)
            self._table.refresh()
            numbers = self._positions.advance(batch)
            if not numbers:
                return
            indexes, highest = self._absent(batch)
            rows = columns_of(self._schema, batch, indexes) if indexes is None or indexes else None
            self._table.commit(rows, numbers | highest)
            self._upkeep.committed()

        self._upkeep.wait(len(batch.rows))
        self._table.insist(f"write {batch.coordinates()}", attempt)

    def rewind(self, topic_id: str, starts: Sequence[Start]) -> None:
        """In one commit; what the table holds already is not written again."""

        def attempt() -> None:
            self._table.refresh()
            numbers: dict[str, int] = {}
            for start in starts:
                numbers |= self._positions.rewind(topic_id, start)
            if numbers:
                self._table.commit(None, numbers)

        self._table.insist("set the positions back", attempt)

    def accounts(self, topic_id: str) -> Sequence[Accounts]:
        """Empty when nothing was ever delivered."""

        def attempt() -> Sequence[Accounts]:
            self._table.refresh()
            return self._positions.accounts(topic_id)

        return self._table.insist("read the positions", attempt)

    def row_count(self) -> int:
        """How many events the table holds, as its files say."""
        return self._table.insist("count its rows", lambda: self._table.refresh().count())

    def close(self) -> None:
        """Let go of the table."""
        self._table.close()

    def _note(self, batch: CleanBatch) -> None:
        news = sorted((batch.high_watermarks.keys() | set(batch.raw_topics)) - self._topics)
        if news:
            note_topics(self._table, news)
            self._topics.update(news)

    def _absent(self, batch: CleanBatch) -> tuple[list[int] | None, dict[str, int]]:
        """Which rows the table lacks (None: all of them are new), and the numbers that say how far it goes now.

        The numbers are read before the table is asked and written with the rows: whoever adds rows of the same raw
        partition meanwhile conflicts with us, so that no event is ever there twice (invariant 3).
        """
        highest: dict[str, int] = {}
        present: set[tuple[str, int]] = set()
        fresh = True
        for topic, offsets in _by_topic(batch):
            app = held_up_to(topic, batch.partition)
            before = self._table.number(app)
            before = -1 if before is None else before
            rising = all(map(int.__lt__, offsets, offsets[1:]))
            if not rising or offsets[0] <= before:
                fresh = False
                present |= {(topic, offset) for offset in self._held(topic, batch.partition, offsets)}
            highest[app] = max(before, *offsets)
        if fresh:
            return None, highest
        return list(_first_of_each(batch, present)), highest

    def _held(self, topic: str, partition: int, offsets: Sequence[int]) -> list[int]:
        """Raw offsets among the range of `offsets` that the table has."""
        quoted = topic.replace("'", "''")
        counted = self._table.query(
            f"SELECT {RAW_OFFSET} FROM t WHERE {RAW_TOPIC} = '{quoted}' AND {RAW_PARTITION} = {partition} "  # noqa: S608
            f"AND {RAW_OFFSET} BETWEEN {min(offsets)} AND {max(offsets)}"
        )
        held: list[int] = counted.column(0).to_pylist()
        return held


def _by_topic(batch: CleanBatch) -> Iterator[tuple[str, Sequence[int]]]:
    topics = dict.fromkeys(batch.raw_topics)
    if len(topics) == 1:
        yield next(iter(topics)), batch.raw_offsets
        return
    for topic in topics:
        yield topic, [o for t, o in zip(batch.raw_topics, batch.raw_offsets, strict=True) if t == topic]


def _first_of_each(batch: CleanBatch, present: set[tuple[str, int]]) -> Iterator[int]:
    """Indexes of rows whose identity is neither present nor seen before in the batch."""
    for at, identity in enumerate(zip(batch.raw_topics, batch.raw_offsets, strict=True)):
        if identity not in present:
            present.add(identity)
            yield at


def _check_case(schema: CleanSchema) -> None:
    """Delta tells no columns apart by case alone."""
    seen: dict[str, str] = {}
    for field in schema.fields:
        other = seen.setdefault(field.name.lower(), field.name)
        if other != field.name:
            raise ConfigError(
                f'The fields "{other}" and "{field.name}" of {schema.stream} differ by case alone, which the lake '
                "can't tell apart: rename one."
            )
