"""Reads a table in looks: what is new behind the position, what has no place in the order, then what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Numeric,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    false,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.types import Date

from clearwell.errors import ConfigError
from clearwell.source import Refusal, SourceEvent
from connectors.sql.fence import Fence, can_tell
from connectors.sql.places import Place, from_place, id_of, to_place
from connectors.sql.position import SqlPosition, SqlReadPlan, known
from connectors.sql.rows import RowEncoder, Unwritable, may_be_null
from connectors.sql.sqlite import Stored
from connectors.sql.table import Database, ValuesUnreadable
from connectors.sql.window import SeenRows, entry_of, version_of

ASIDE_MOST = 1_000
"""Rows without a place in the order, at most; each is looked at again at each look."""

AFTER_ALL = datetime(9000, 1, 1)
"""Times from here on ("infinity", 9999-12-31) mean that there is none: reading can't go on after them."""

BEYOND_ALL = Decimal("1e1000")
"""NaN and Infinity of PostgreSQL's numeric are larger."""

COUNT_SECONDS = 20.0


class RowPage(NamedTuple):
    """Events, the position after them, and how many rows were read for them. Without events: it waits."""

    events: list[SourceEvent]
    position: SqlPosition | None
    rows: int = 0


class Row(NamedTuple):
    """A row with its place; `refusal` says why it can't be an event, and `data` is a note then."""

    place: Place
    data: bytes
    refusal: Refusal | None = None

    def entry(self) -> bytes:
        """Its fingerprints."""
        return entry_of(repr(self.place).encode(), self.data)


class TableReader:
    """Reads one table from a position on; each page is a call that blocks."""

    def __init__(
        self,
        database: Database,
        table: Table,
        order: Sequence[Column[Any]],
        columns: Sequence[Column[Any]],
        plan: SqlReadPlan,
    ) -> None:
        """`order`: cursor and key; `columns`: those to read, the order's among them."""
        self._database, self._table, self._order, self._columns, self._plan = database, table, order, columns, plan
        self._stored = database.stores_anything
        self._rows = RowEncoder(columns, plan.zone, self._stored)
        self._places = [columns.index(column) for column in order]
        self._aside = _aside(order, plan.incremental, database.backend)
        self._bound: ColumnElement[bool] | None = None

    def begin(self, position: SqlPosition | None) -> None:
        """Go on after `position`. Raises ConfigError when it is none of this table."""
        position = position or SqlPosition()
        for floor in (position.after, position.floor):
            if floor is not None:
                from_place(self._order, floor, self._stored)
        self._after = position.after
        self._floor = position.after if position.window is None else position.floor
        self._window: list[tuple[Place, bytes]] = []
        self._seen, self._seen_aside = known(position.window), known(position.aside)
        self._position = None if position == SqlPosition() else position

    def look(self) -> Iterator[RowPage]:
        """All that is there now, in pages."""
        self._bound = None
        if self._plan.incremental:
            yield from self._fenced()
            yield from self._again()
        yield from self._set_aside()
        while True:
            after = self._after
            rows = self._select(self._plan.page, *([] if after is None else [self._follows(after)]), bounded=True)
            if not rows:
                return
            if rows[-1].place == after:
                raise ConfigError(
                    f"Reading {self._table.name} can't get past one row: its cursor or key is finer than this driver "
                    "shows it. Choose another cursor, or a view that rounds it."
                )
            self._after = rows[-1].place
            self._remember(rows)
            yield self._page([self._event(row) for row in rows])
            if len(rows) < self._plan.page:
                return

    def sample(self, most: int) -> list[bytes]:
        """The first rows that can be events, as JSON."""
        self._bound = None
        return [row.data for row in self._select(most) if row.refusal is None]

    def held(self) -> int | None:
        """The rows up to the position as the database counts them, and those without a place; None: not in time."""
        parts = [] if self._after is None else [not_(self._follows(self._after))]
        parts += [] if self._aside is None else [self._aside]
        query = select(func.count()).select_from(self._table).where(or_(false(), *parts))
        return self._database.count(query, COUNT_SECONDS)

    def _fenced(self) -> Iterator[RowPage]:
        """Where the database can tell: go only as far as nobody can bring an earlier row any more."""
        if self._database.backend != "postgresql":
            return
        cursor = self._order[0]
        last = select(cast(cursor, Text)).order_by(cursor.desc()).limit(1)
        if self._aside is not None:
            last = last.where(not_(self._aside))
        with self._database.connect() as connection:
            if not can_tell(connection):
                return
            reached = connection.execute(last).scalar_one_or_none()
            if reached is None:
                self._bound = false()
                return
            fence = Fence(connection)
            whole = isinstance(cursor.type, DateTime | Date)
            is_open = fence.is_open(connection, whole)
        while not is_open:
            yield RowPage([], self._position)
            with self._database.connect() as connection:
                is_open = fence.is_open(connection, whole)
        self._bound = cursor <= cast(bindparam(None, reached, Text), cursor.type)

    def _again(self) -> Iterator[RowPage]:
        """Rows of the window that were not read as they are now: late commits, and changes the cursor does not show."""
        if self._after is None or not self._plan.lookback:
            return
        end, start = not_(self._follows(self._after)), self._floor
        seen = SeenRows.of([entry for _, entry in self._window]) if self._window else self._seen
        window: list[tuple[Place, bytes]] = []
        fresh: list[SourceEvent] = []
        while True:
            rows = self._select(self._plan.page, end, *([] if start is None else [self._follows(start)]))
            fresh += self._new(rows, seen)
            window += [(row.place, row.entry()) for row in rows]
            if len(rows) < self._plan.page:
                break
            start = rows[-1].place
            if len(fresh) > self._plan.page:  # with the old window: the last of them come with the new one
                ready, fresh = fresh[: self._plan.page], fresh[self._plan.page :]
                yield RowPage(ready, self._position, len(ready))
        self._window = window
        self._trim()
        if fresh:
            yield self._page(fresh)

    def _set_aside(self) -> Iterator[RowPage]:
        """Rows without a place in the order, each once as it is."""
        if self._aside is None:
            return
        rows = self._select(ASIDE_MOST + 1, self._aside, aside=True)
        if len(rows) > ASIDE_MOST:
            raise ConfigError(
                f"More than {ASIDE_MOST:,} rows of {self._table.name} have no value in {self._order[0].name}, or one "
                "beyond all times, so that they can't be read in its order: choose another `cursor`."
            )
        fresh = self._new(rows, self._seen_aside)
        self._seen_aside = SeenRows.of([row.entry() for row in rows])
        if fresh:
            yield self._page(fresh)

    def _new(self, rows: Sequence[Row], seen: SeenRows) -> list[SourceEvent]:
        """The events of rows that are not among `seen`; a changed one gets an id of its own."""
        made = []
        for row in rows:
            entry, keyless = row.entry(), None in (row.place[1:] or row.place)
            if not seen.holds(entry):
                made.append(self._event(row, version_of(entry) if keyless or seen.holds_place(entry) else None))
        return made

    def _event(self, row: Row, version: str | None = None) -> SourceEvent:
        event_id = id_of(row.place) if version is None else f"{id_of(row.place)}#{version}"
        return SourceEvent(event_id, row.data, row.refusal)

    def _remember(self, rows: Sequence[Row]) -> None:
        """Rows that were read come into the window."""
        if self._plan.incremental and self._plan.lookback:
            kept = rows[-self._plan.lookback - 1 :]
            if len(kept) < len(rows):
                self._window, self._floor = [], rows[-len(kept) - 1].place
            self._window += [(row.place, row.entry()) for row in kept]
            self._trim()

    def _trim(self) -> None:
        out = len(self._window) - self._plan.lookback
        if out > 0:
            self._floor = self._window[out - 1][0]
            del self._window[:out]

    def _page(self, events: list[SourceEvent]) -> RowPage:
        looks_back = self._plan.incremental and self._plan.lookback and self._after is not None
        self._position = SqlPosition(
            after=self._after,
            floor=self._floor if looks_back else None,
            window=SeenRows.of([entry for _, entry in self._window]).text() if looks_back else None,
            aside=self._seen_aside.text() or None,
        )
        return RowPage(events, self._position, len(events))

    def _select(
        self, most: int, *conditions: ColumnElement[bool], bounded: bool = False, aside: bool = False
    ) -> list[Row]:
        """Rows in order, at most so many."""
        query = select(self._table).where(*conditions).limit(most)
        query = query.order_by(*(self._order[1:] or self._order if aside else self._order))
        if self._aside is not None and not aside:
            query = query.where(not_(self._aside))
        if bounded:
            query = query.where(*([] if self._bound is None else [self._bound]), *self._behind_the_clock())
        try:
            return [self._row(values) for values in self._database.rows(self._columns, query)]
        except ValuesUnreadable:
            return self._each(query)

    def _behind_the_clock(self) -> list[ColumnElement[bool]]:
        if not self._plan.delay:
            return []
        with self._database.connect() as connection:
            now = self._database.now(connection, self._order[0], self._plan.zone)
        return [self._order[0] <= now - timedelta(seconds=self._plan.delay)]

    def _row(self, values: Sequence[Any]) -> Row:
        place = to_place([values[index] for index in self._places], self._stored)
        try:
            return Row(place, self._rows.encode(values))
        except Unwritable as error:
            return Row(place, f"refused: {error.refusal}: column {error.column}".encode(), error.refusal)

    def _each(self, query: Select[Any]) -> list[Row]:
        """Row by row, since the driver can't take a value of one of them."""
        try:
            keys = self._database.rows(self._order, query)
        except ValuesUnreadable:
            raise ConfigError(
                f"A value of cursor or key of {self._table.name} is none that the driver can take: choose other "
                "columns, or read a view that changes it."
            ) from None
        rows = []
        for key in keys:
            alike = [column == value for column, value in zip(self._order, key, strict=True)]
            try:
                values = self._database.rows(self._columns, select(self._table).where(*alike))
                rows += [self._row(value) for value in values]
            except ValuesUnreadable:
                note = f"refused: {Refusal.UNREADABLE}"
                rows.append(Row(to_place(key, self._stored), note.encode(), Refusal.UNREADABLE))
        return rows

    def _follows(self, place: Place) -> ColumnElement[bool]:
        """The rows after `place`: (a > x) or (a = x and b > y) …, which every database understands."""
        kinds = [Stored() if self._stored else column.type for column in self._order]
        values = [
            bindparam(None, value, kind)
            for value, kind in zip(from_place(self._order, place, self._stored), kinds, strict=True)
        ]
        columns = self._order
        return or_(
            *(
                and_(*(columns[i] == values[i] for i in range(depth)), columns[depth] > values[depth])
                for depth in range(len(columns))
            )
        )


def _aside(order: Sequence[Column[Any]], by_cursor: bool, backend: str) -> ColumnElement[bool] | None:
    """What has no place in the order: nulls, and values of the cursor that stand for none, such as infinity."""
    parts: list[ColumnElement[bool]] = [column.is_(None) for column in order if may_be_null(column)]
    if by_cursor and isinstance(order[0].type, DateTime | Date):
        parts.append(order[0] >= (bindparam(None, "9000-01-01", Stored()) if backend == "sqlite" else AFTER_ALL))
    if by_cursor and isinstance(order[0].type, Numeric) and backend == "postgresql":
        parts.append(order[0] >= BEYOND_ALL)
    return or_(*parts) if parts else None
