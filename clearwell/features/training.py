"""What Feast joins training sets from: a row of an entity for each instant at which its values changed, as Parquet.

Feast takes an entity's newest row at or before the instant that is asked for. So rows at exactly the instants where
values change, windows moving on among them, give the values that would have been served at any instant. Each entity
begins with a row of nulls, since Feast's file store leaves out of a join what was asked for before its first row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from clearwell.contract.features import FeatureView, leaves_as
from clearwell.contract.model import Field, Type
from clearwell.destinations.features_folder import Folder
from clearwell.destinations.features_offline import encoded
from clearwell.destinations.features_tiles import EPOCH
from clearwell.features.history import read_timelines
from clearwell.features.timeline import Moment, Timeline
from clearwell.pipeline.arrow import SCALARS, arrow_type
from clearwell.settings import Settings

EVENT_TIMESTAMP = "event_timestamp"
"""What Feast calls the column that says since when the values of a row hold."""

FILE = "features.parquet"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What was written: rows of how many entities, into which folder; events up to `until` are in them."""

    view: str
    entities: int
    rows: int
    folder: str
    until: datetime


def refresh(settings: Settings, view: FeatureView) -> Refreshed:
    """Write anew all that Feast joins of a view, from its history; readers have the old file or the new one, whole.

    Holds the view's events in memory. Raises as `clearwell.features.history.read_timelines`.
    """
    until = datetime.now(UTC)
    found = read_timelines(settings, view, until)
    rows = [
        (*entity, moment.time, *(_as_feast(one) for one in moment.values.values()))
        for entity, timeline in sorted(found.items())
        for moment in (timeline.at(EPOCH), *moments(timeline, until))
    ]
    schema = _schema(view)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(column, one.type) for column, one in zip(columns, schema, strict=True)]
    folder = Folder.root(settings) / view.name
    folder.put(FILE, encoded(pa.table(arrays, schema)))
    return Refreshed(view.name, len(found), len(rows), folder.shown, until)


def moments(timeline: Timeline, until: datetime) -> Iterator[Moment]:
    """The values since the first event, one for each change, which an event is too: `ttl` begins anew with it."""
    if not timeline.times:
        return
    before: tuple[Any, ...] | None = None
    for time in (timeline.times[0], *timeline.changes(timeline.times[0], until)):
        moment = timeline.at(time)
        told = (moment.values, moment.event_time, moment.expired)
        if told != before:
            yield moment
        before = told


def _schema(view: FeatureView) -> pa.Schema:
    keys = [pa.field(key.name, _arrow(leaves_as(key), key)) for key in view.entity.keys]
    time = pa.field(EVENT_TIMESTAMP, SCALARS[Type.TIMESTAMP])
    return pa.schema([*keys, time, *(pa.field(one.name, _arrow(one.type, one.source)) for one in view.features)])


def _arrow(type_: Type, source: Field) -> pa.DataType:
    """As `clearwell.features.definitions.feast_type` has it: a date is text there."""
    if type_ is Type.DATE:
        return pa.string()
    if type_ is Type.DECIMAL:
        return pa.decimal128(38, source.scale or 0)  # a sum has more digits than its terms
    return arrow_type(source) if type_ is Type.LIST else SCALARS[type_]


def _as_feast(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") and not isinstance(value, datetime) else value
