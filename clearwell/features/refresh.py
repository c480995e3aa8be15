"""What Feast joins training sets from: a row of an entity for each instant at which its values changed, as Parquet.

Feast takes an entity's newest row at or before the instant that is asked for. So rows at exactly the instants where
values change, windows moving on among them, give the values that would have been served at any instant. Each entity
begins with a row of nulls, since Feast's file store leaves out of a join what was asked for before its first row.

The rows are those of the events alone, whatever the clock says: how windows run empty and `ttl` ends after the last
event is among them. So a refresh has nothing to do for entities that had no event since the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from clearwell.contract.features import FeatureView
from clearwell.contract.model import Field, Type
from clearwell.destinations.features import incarnations, retention_floor
from clearwell.destinations.features.history_files import columns_of, encoded, list_id
from clearwell.destinations.features.history_folder import Folder
from clearwell.destinations.features.read import connect
from clearwell.destinations.features.tiles import EPOCH, Entity
from clearwell.features import event_history
from clearwell.features.refresh_note import PreviousRefresh, RefreshNote, read_previous, split_rows, with_note
from clearwell.features.timeline import Moment, Timeline, timelines
from clearwell.pipeline.arrow import SCALARS, arrow_type
from clearwell.settings import Settings

EVENT_TIMESTAMP = "event_timestamp"
"""What Feast calls the column that says since when the values of a row hold."""

FILE = "features.parquet"


LAST = datetime(2200, 1, 1, tzinfo=UTC)
"""No row is of later: the nanoseconds of pandas end in 2262."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What there is now: rows of how many entities, in which folder; all events that were there at `until` are in them.

    `changed` says how many of the entities had new events, in `new` of the `files` of the history; `whole`, that all
    rows were made anew.
    """

    view: str
    entities: int
    rows: int
    folder: str
    until: datetime
    changed: int
    new: int
    files: int
    whole: bool


@dataclass(frozen=True, slots=True)
class RefreshPlan:
    """What a refresh would read: `new` of the `files` of a history and what windows reach back to, or the `whole`.

    `digest` is that of the definition it was planned by.
    """

    view: str
    new: int
    files: int
    whole: bool
    folder: str
    digest: str


@dataclass(frozen=True, slots=True)
class _State:
    """A history as it is now, and what the last refresh left of it (None: nothing to go on from)."""

    spans: list[event_history.HistoryFile]
    ranks: Mapping[str, int]
    list_id: str | None
    former: PreviousRefresh | None

    def new(self) -> list[str]:
        known = self.former.events if self.former is not None else {}
        return [span.file for span in self.spans if known.get(span.file) != span.written]


def refresh(settings: Settings, view: FeatureView, *, full: bool = False) -> RefreshResult:
    """Bring what Feast joins of a view up to date with its history; readers have the old file or the new one, whole.

    Of entities that have new events the rows from the earliest of those on are made anew, which is the same as making
    all anew (`full`). Holds the events that this takes in memory. Raises as `read_timelines` of `features.history`.
    """
    return event_history.retry_where_joined(settings, view, lambda: _refresh(settings, view, full=full))


def plan_refresh(settings: Settings, view: FeatureView, *, full: bool = False) -> RefreshPlan:
    """What `refresh` would do. Raises as it does."""
    state, folder = _state(settings, view, full=full), Folder.root(settings) / view.name
    return RefreshPlan(view.name, len(state.new()), len(state.spans), state.former is None, folder.shown, view.digest())


def _refresh(settings: Settings, view: FeatureView, *, full: bool) -> RefreshResult:
    until = datetime.now(UTC)
    state = _state(settings, view, full=full)
    root, schema, new = Folder.root(settings), _schema(view), state.new()
    since = event_history.first_times(root, view, new)
    keys = [key.name for key in view.entity.keys]
    kept, known = schema.empty_table(), set[Entity]()
    if state.former is not None:
        named = {_feast_key(entity): time for entity, time in since.items()}
        kept, known = split_rows(state.former.rows, keys, EVENT_TIMESTAMP, named)
    by_entity = timelines(view, _needed(root, view, state.spans, since), state.ranks) if since else {}
    rows = [
        (*_feast_key(entity), moment.time, *(_as_feast(value) for value in moment.values.values()))
        for entity, timeline in by_entity.items()
        for moment in _from(timeline, since[entity], new=_feast_key(entity) not in known)
    ]
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    fresh = pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)
    table = pa.concat_tables([kept, fresh]).sort_by([(name, "ascending") for name in (*keys, EVENT_TIMESTAMP)])
    folder = root / view.name
    note = RefreshNote(view.digest(), state.list_id or "", {span.file: span.written for span in state.spans})
    folder.put(FILE, encoded(with_note(table, note)))
    entities = table.group_by(keys, use_threads=False).aggregate([]).num_rows
    counts = (len(since), len(new), len(state.spans), state.former is None)
    return RefreshResult(view.name, entities, table.num_rows, folder.shown, until, *counts)


def _state(settings: Settings, view: FeatureView, *, full: bool) -> _State:
    with connect(settings.postgres, view) as session:
        spans, list_name = event_history.list_history(session, view), list_id(session)
        ranks = incarnations.ranks(session, view.name)
    folder = Folder.root(settings) / view.name
    previous = None if full or list_name is None else read_previous(folder, FILE, view, _schema(view), list_name)
    return _State(spans, ranks, list_name, previous)


def _needed(
    root: Folder, view: FeatureView, spans: Sequence[event_history.HistoryFile], since: Mapping[Entity, datetime]
) -> Iterator[event_history.ViewEvent]:
    """The events that the values of each entity of `since` from its instant on can depend on."""
    reach = timedelta(microseconds=retention_floor.reach(view))
    first = {entity: time - reach if time - _EARLIEST > reach else _EARLIEST for entity, time in since.items()}
    files = [span.file for span in spans if span.last >= min(first.values())]
    names = [field.name for field in columns_of(view)]
    keys, time = [names.index(key.name) for key in view.entity.keys], names.index(view.event_time)
    for event in event_history.read(root, view, files, keys=list(since)):
        if event.row[time] >= first[tuple([event.row[at] for at in keys])]:
            yield event


def _from(timeline: Timeline, start: datetime, *, new: bool) -> Iterator[Moment]:
    """The rows of an entity from `start` on, which is the time of an event; a new one begins with nulls."""
    if new or start <= EPOCH:
        yield timeline.at(EPOCH)
    yield from moments(timeline, start, LAST)


def moments(timeline: Timeline, start: datetime, until: datetime) -> Iterator[Moment]:
    """The values from `start` on, one for each change, which an event is too: `ttl` begins anew with it."""
    before: tuple[Any, ...] | None = None
    for time in (start, *timeline.changes(start, until)):
        moment = timeline.at(time)
        state = (moment.values, moment.event_time, moment.expired)
        if state != before:
            yield moment
        before = state


def _schema(view: FeatureView) -> pa.Schema:
    keys = [pa.field(key.name, _arrow(key.clean_type, key)) for key in view.entity.keys]
    time = pa.field(EVENT_TIMESTAMP, SCALARS[Type.TIMESTAMP])
    return pa.schema(
        [*keys, time, *(pa.field(feature.name, _arrow(feature.type, feature.source)) for feature in view.features)]
    )


def _arrow(type_: Type, source: Field) -> pa.DataType:
    """As `clearwell.features.feast_objects.feast_type` has it: a date is text there."""
    if type_ is Type.DATE:
        return pa.string()
    if type_ is Type.DECIMAL:
        return pa.decimal128(38, source.scale or 0)  # a sum has more digits than its terms
    return arrow_type(source) if type_ is Type.LIST else SCALARS[type_]


def _feast_key(entity: Entity) -> Entity:
    return tuple([_as_feast(value) for value in entity])


def _as_feast(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") and not isinstance(value, datetime) else value
