"""A feature view: a wide typed table of newest values, and tiles, in the platform's PostgreSQL; its history in Parquet.

One transaction a batch: the position, the guarded upsert of the newest row of each entity, which events are new
(`seen_events`), their tiles and their history. See docs/decisions/0011-features.md and 0016-offline-features.md.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import ClassVar, Self

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from clearwell.contract.feature_views import view_of
from clearwell.contract.features import FeatureView
from clearwell.contract.model import CleanSchema
from clearwell.contract.route_options import RouteOptions
from clearwell.destinations.features import ddl as features_ddl
from clearwell.destinations.features import incarnations as features_incarnations
from clearwell.destinations.features import lateness as features_lateness
from clearwell.destinations.features import seen_events, tile_updates
from clearwell.destinations.features import table as features_table
from clearwell.destinations.features.history_files import OfflineWriter
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.lateness import ArrivedEvent, Newest
from clearwell.destinations.features.options import FeaturesOptions
from clearwell.destinations.features.tiles import Entity
from clearwell.destinations.features.upkeep import ViewUpkeep, pace
from clearwell.destinations.newest import newest_rows
from clearwell.destinations.postgres import positions as postgres_positions
from clearwell.destinations.postgres.ddl import guarded_upsert
from clearwell.destinations.postgres.destination import PostgresDestination
from clearwell.destinations.postgres.table import is_foreign
from clearwell.destinations.protocol import (
    Claim,
    CleanBatch,
    DestinationConfig,
    DestinationContext,
    RowReason,
    RowsRefused,
)
from clearwell.destinations.shape import check_schema, must_not_be_null
from clearwell.errors import ClearwellError
from clearwell.postgres_connection import BoundedConnection as Session

log = logging.getLogger(__name__)

_DATA = (psycopg.DataError, psycopg.IntegrityError)
_NO_TABLE = (errors.UndefinedTable, errors.InvalidSchemaName)


def now() -> datetime:
    """The clock, which tests may set."""
    return datetime.now(UTC)


class FeaturesConfig(DestinationConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing: views are in the platform's own PostgreSQL."""


class FeaturesDestination(PostgresDestination):
    """One view; see `clearwell.destinations.protocol.Destination` for what each method promises.

    `accounts` counts late events as delivered: their row took part in the newest values; `late` says how many.
    """

    kind: ClassVar[str] = "features"
    Config: ClassVar[type[DestinationConfig]] = FeaturesConfig
    Options: ClassVar[type[RouteOptions]] = FeaturesOptions
    registered: ClassVar[bool] = False

    def __init__(
        self,
        dsn: str,
        schema: CleanSchema,
        view: FeatureView,
        group: str,
        offline: Folder,
        clock: Callable[[], datetime] = now,
        compact_every: int = 0,
    ) -> None:
        """`view` is of the clean `schema`; its history goes under `offline` (see `Folder.root`).

        `compact_every`: commits between two times of its upkeep (0: never). Raises ConfigError when a name or type
        can't be.
        """
        rows = features_ddl.rows_schema(view)
        time = replace(schema.field(view.event_time), name=features_ddl.EVENT_TIME)
        check_schema(replace(rows, fields=(*rows.fields[:-1], time)), features_ddl.TAKEN)
        super().__init__(dsn, rows, view.name, group)
        self.view = view
        self._names = [field.name for field in schema.fields]
        picked = [
            *(key.name for key in view.entity.keys),
            *(feature.source.name for feature in view.plain),
            view.event_time,
        ]
        self._pick = [self._names.index(name) for name in picked]
        self._time = self._names.index(view.event_time)
        self._history = OfflineWriter(offline, view, schema, group)
        self._clock = clock
        self._upkeep = ViewUpkeep(view, offline, compact_every)
        self._began: datetime | None = None
        self._upsert = guarded_upsert(rows, view.name, features_incarnations.is_later(view.name))
        self._before = features_lateness.newest_of_staged(view)

    @classmethod
    def of(cls, context: DestinationContext) -> Self:
        """The view that the route's options spell out, in the platform's own server."""
        assert context.name is not None
        told = {name: getattr(context.options, name) for name in context.options.__struct_fields__}
        options = {name: value for name, value in told.items() if value is not None}
        view = view_of(context.schema, context.name, options)
        root, every = Folder.root(context.settings), pace()
        return cls(context.settings.postgres, context.schema, view, context.group, root, compact_every=every)

    def open(self) -> None:
        """Create or widen the tables, and the bookkeeping tables where they are missing."""
        with (
            self._talking(f'make or read the tables of the view "{self.view.name}"') as session,
            self._transaction(session),
        ):
            features_table.prepare(session, self.view)
            self._began = features_lateness.begin(session, self.view.name, self._clock())

    def write(self, batch: CleanBatch) -> None:
        """After Retryable the same batch may be written again: the position tells whether it was committed."""
        self._check(batch)
        doing = f'write {batch.coordinates()} to the view "{self.view.name}"'
        with self._talking(doing) as session, self._refusing(batch), self._transaction(session):
            # First, so that its lock keeps a zombie out for the whole transaction (invariant 4).
            if postgres_positions.advance(session, self._group, batch) and batch.rows:
                features_incarnations.meet(session, self.view.name, dict.fromkeys(batch.raw_topics))
                newest = self._write_newest(session, batch)
                self._write_events(session, batch, newest)
        if batch.rows and self._upkeep.is_due():
            self._tidy()

    def claim(self, topic_id: str, partition: int, generation: int) -> Claim:
        """As the other stores; and what a former owner left uncommitted in the history goes."""
        claim = super().claim(topic_id, partition, generation)
        with self._talking(f'tidy the history of the view "{self.view.name}"') as session:
            self._history.sweep(session, topic_id, partition, claim.epoch)
        return claim

    def row_count(self) -> int:
        """Counts the entities that have a row; 0 when there is no table yet."""
        count = SQL("SELECT count(*) FROM {}").format(Identifier(features_ddl.ROWS, self.view.name))
        with (
            self._talking(f'count the rows of the view "{self.view.name}"') as session,
            contextlib.suppress(*_NO_TABLE),
        ):
            row = session.execute(count).fetchone()
            return int(row[0]) if row else 0
        return 0

    def late(self) -> int:
        """How many events came too late to be in any tile."""
        with self._talking(f'count the late events of "{self.view.name}"') as session, contextlib.suppress(*_NO_TABLE):
            return seen_events.late(session, self.view.name)
        return 0

    def _tidy(self) -> None:
        """After a commit: what goes wrong here stops nothing, and is tried again another time."""
        try:
            with self._talking(f'compact the view "{self.view.name}"') as session:
                self._upkeep.tidy(session, self._clock())
        except ClearwellError as error:
            log.warning("The view %s is not compacted this time: %s", self.view.name, error)

    def _check(self, batch: CleanBatch) -> None:
        """Refuse rows that would poison the view: no key where one must be, a time far ahead that nothing replaces."""
        required = [self._names.index(key.name) for key in self.view.entity.keys if key.required]
        clock = self._clock()
        for row in batch.rows:
            if any(row[at] is None for at in required):
                raise RowsRefused(RowReason.CONSTRAINT, f'A row has no key of the entity "{self.view.entity.name}".')
            time = row[self._time]
            if time is not None and time - clock > self.view.ahead:
                raise RowsRefused(
                    RowReason.AHEAD,
                    "The event time of a row is further ahead of the clock than `ahead` of the view "
                    f'"{self.view.name}" allows: is a clock wrong?',
                )

    def _write_newest(self, session: Session, batch: CleanBatch) -> dict[Entity, Newest]:
        """Returns each entity's newest event before this batch, as far as lateness has to know it."""
        pick = itemgetter(*self._pick)
        keys = len(self.view.entity.keys)
        rows = [pick(row) for row in batch.rows]
        there = [index for index, row in enumerate(rows) if None not in row[:keys]]
        if len(there) < len(rows):
            rows, batch = [rows[index] for index in there], _picked(batch, there)
        projected = replace(batch, rows=rows)
        # In the order of the key, as all who write to the view do: two that lock the same rows never wait crosswise.
        newest = sorted(newest_rows(projected, self._schema), key=lambda index: rows[index][:keys])
        topics, offsets = batch.raw_topics, batch.raw_offsets
        with session.cursor() as cursor, cursor.copy(self._copy) as copy:
            copy.set_types(self._types)
            for index in newest:
                copy.write_row((*rows[index], topics[index], offsets[index]))
        began, time = self._began_at(session), self._time
        live = any(row[time] is not None and row[time] >= began for row in batch.rows)
        before = features_lateness.as_newest(session.execute(self._before).fetchall(), keys) if live else {}
        session.execute(self._upsert, {"partition": batch.partition})
        return before

    def _began_at(self, session: Session) -> datetime:
        if self._began is None:
            self._began = features_lateness.begin(session, self.view.name, self._clock())
        return self._began

    def _write_events(self, session: Session, batch: CleanBatch, newest: dict[Entity, Newest]) -> None:
        """What is written once for each event, however often it comes: tiles and history."""
        keys = [self._names.index(key.name) for key in self.view.entity.keys]
        topics, offsets = batch.raw_topics, batch.raw_offsets
        arrived = [
            ArrivedEvent(
                tuple([row[at] for at in keys]),
                Newest(row[self._time], topics[index], batch.partition, offsets[index]),
                index,
            )
            for index, row in enumerate(batch.rows)
            if row[self._time] is not None and all(row[at] is not None for at in keys)
        ]
        late = features_lateness.late_places(self.view, self._began_at(session), newest, arrived)
        events = [
            seen_events.CountedEvent(event.topic, event.offset, position, position in late)
            for _, event, position in arrived
        ]
        seen = seen_events.count(session, self.view.name, batch.partition, events)
        if self.view.tile is not None:
            tile_updates.add(
                session, self.view, self._names, batch, [event_seen.place for event_seen in seen if not event_seen.late]
            )
        self._history.write(session, batch, seen)

    @contextlib.contextmanager
    def _refusing(self, batch: CleanBatch) -> Iterator[None]:
        """What the server or psycopg says of a value becomes RowsRefused; its text quotes the value (invariant 9)."""
        try:
            yield
        except errors.NumericValueOutOfRange:
            raise RowsRefused(RowReason.OUT_OF_RANGE, f"A value is out of range in {batch.coordinates()}.") from None
        except (*_DATA, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            self._require_known_column(error)
            named = type(error).__name__
            message = f'A value does not fit the view "{self.view.name}" ({named}) in {batch.coordinates()}.'
            raise RowsRefused(RowReason.WRONG_TYPE, message) from None

    def _require_known_column(self, error: Exception) -> None:
        """Raises ConfigError of a column that others have added: it refuses every row alike."""
        if not isinstance(error, errors.NotNullViolation) or not error.diag.column_name:
            return
        column, table = error.diag.column_name, f"{error.diag.schema_name}.{error.diag.table_name}"
        tiles = [tile.name for tile in features_ddl.tile_columns(self.view)]
        if is_foreign(self._schema, column) and column not in (*tiles, *features_ddl.TAKEN):
            raise must_not_be_null(column, table, replace(self._schema, stream=self.view.stream))

    def _set_up(self, session: Session) -> None:
        super()._set_up(session)
        session.execute("SELECT set_config('search_path', %s, %s)", (features_ddl.ROWS, session.pooled))
        if self.view.tile is not None:
            session.execute(features_ddl.create_staging(self.view, passing=session.pooled))


def _picked(batch: CleanBatch, indexes: Sequence[int]) -> CleanBatch:
    """The batch with these rows alone; for what goes by `rows` and their raw identity."""
    return replace(
        batch,
        raw_topics=[batch.raw_topics[index] for index in indexes],
        raw_offsets=[batch.raw_offsets[index] for index in indexes],
    )
